"""The page's own WebSocket: the same messages as the API's /live, for whoever is logged in."""

from fastapi import APIRouter, WebSocket

from cloud.live_socket import live

router = APIRouter()


@router.websocket("/live")
async def page_live(socket: WebSocket) -> None:
    """Live values for the session's user, or the bearer of a token."""
    await live(socket)
