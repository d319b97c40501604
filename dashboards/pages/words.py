"""Why there are no data, as the pages say it. Texts are msgids (Chinese)."""

REASONS = {
    "unstated": "未说明",
    "not_connected": "设备未连接",
    "no_reply": "设备无应答",
    "stopped": "采集停止",
    "restart": "采集重启",
    "outbox_full": "缓存已满",
    "lost": "数据丢失",
}
