"""A subscription whose notifications arrive as batches, not value by value."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from asyncua import ua
from asyncua.client.client import Client
from asyncua.common.subscription import Subscription
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from edge_agent.drivers.opcua_bulk import Columns
from edge_agent.drivers.opcua_session import DataChanges
from telemetry.clock import mono_ms

OnBatch = Callable[[list[int], list[ua.DataValue]], None]
OnColumns = Callable[[Columns], None]
_KEEP_ALIVE_MS = 1000
_LIVES = 10  # keep-alive intervals after which the server may forget the subscription
_ITEMS_PER_CALL = 500
_REFUSED_FILTER = frozenset(
    {
        StatusCodes.BadMonitoredItemFilterUnsupported,
        StatusCodes.BadMonitoredItemFilterInvalid,
        StatusCodes.BadFilterNotAllowed,
    }
)


@dataclass(frozen=True, slots=True)
class Item:
    """One node to watch; `position` comes back with its values."""

    position: int
    node: ua.NodeId
    sampling_ms: int


class BatchSubscription(Subscription):
    """Hands each notification's values over at once, with the positions of their items."""

    def __init__(self, client: Client, *, publishing_ms: int, on_batch: OnBatch, on_columns: OnColumns) -> None:
        parameters = ua.CreateSubscriptionParameters()
        parameters.RequestedPublishingInterval = publishing_ms
        parameters.RequestedMaxKeepAliveCount = max(1, round(_KEEP_ALIVE_MS / publishing_ms))
        parameters.RequestedLifetimeCount = _LIVES * parameters.RequestedMaxKeepAliveCount
        parameters.MaxNotificationsPerPublish = 0
        parameters.PublishingEnabled = True
        super().__init__(client.uaclient.session, parameters)
        self._client = client
        self._on_batch = on_batch
        self._on_columns = on_columns
        self.heard_ms = mono_ms()
        self.ended: str | None = None
        self.keep_alive_ms = float(_KEEP_ALIVE_MS)

    async def start(self, items: Sequence[Item]) -> dict[int, ua.StatusCode]:
        """Create it on the server; returns the items it refused, by position. Raises what asyncua raises."""
        revised = await self.init()
        self.keep_alive_ms = float(revised.RevisedPublishingInterval * revised.RevisedMaxKeepAliveCount)
        refused = await self._watch(items, timestamps=True)
        again = [i for i in items if i.position in refused and refused[i.position].value in _REFUSED_FILTER]
        if again:
            # A server without the filter sends only changes of value and status: less, but not nothing.
            refused = {k: v for k, v in refused.items() if v.value not in _REFUSED_FILTER}
            refused |= await self._watch(again, timestamps=False)
        self.heard_ms = mono_ms()
        return refused

    async def _watch(self, items: Sequence[Item], *, timestamps: bool) -> dict[int, ua.StatusCode]:
        refused: dict[int, ua.StatusCode] = {}
        for chunk in _chunks(items):
            call = ua.CreateMonitoredItemsParameters()
            call.SubscriptionId = ua.UInt32(self.subscription_id or 0)
            call.TimestampsToReturn = ua.TimestampsToReturn.Both
            call.ItemsToCreate = [self._request(item, timestamps=timestamps) for item in chunk]
            results = await self._client.uaclient.create_monitored_items(call)
            refused |= {
                item.position: result.StatusCode
                for item, result in zip(chunk, results, strict=True)
                if not result.StatusCode.is_good()
            }
        return refused

    def _request(self, item: Item, *, timestamps: bool) -> ua.MonitoredItemCreateRequest:
        asked = ua.MonitoringParameters()
        asked.ClientHandle = ua.UInt32(item.position)
        asked.SamplingInterval = item.sampling_ms
        # Room for what a slow publish may leave behind; the oldest goes first if even that is not enough.
        asked.QueueSize = ua.UInt32(max(2, round(4 * self.parameters.RequestedPublishingInterval / item.sampling_ms)))
        asked.DiscardOldest = True
        if timestamps:
            # A new sample of the same value is news: it says that the value still holds.
            asked.Filter = ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
        request = ua.MonitoredItemCreateRequest()
        request.ItemToMonitor = ua.ReadValueId(NodeId=item.node, AttributeId=AttributeIds.Value)
        request.MonitoringMode = ua.MonitoringMode.Reporting
        request.RequestedParameters = asked
        return request

    async def publish_callback(self, publish_result: ua.PublishResult) -> None:
        self.heard_ms = mono_ms()
        for notification in publish_result.NotificationMessage.NotificationData or ():
            if isinstance(notification, DataChanges):
                self._on_columns(notification.columns)
            elif isinstance(notification, ua.DataChangeNotification):
                changes = notification.MonitoredItems
                self._on_batch([int(c.ClientHandle) for c in changes], [c.Value for c in changes])
            elif isinstance(notification, ua.StatusChangeNotification):
                self.ended = notification.Status.name

    def silent_ms(self) -> int:
        """How long nothing has come, not even a keep-alive."""
        return mono_ms() - self.heard_ms


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _ITEMS_PER_CALL):
        yield items[start : start + _ITEMS_PER_CALL]
