"""What reason codes mean, for people: Chinese and English."""

from verifier.states import STATE_ZH, State

PHRASES: dict[str, tuple[str, str]] = {
    "": ("符合", "as it should be"),
    "blocked": ("所依赖的判据不通过或未能检查，未检查", "not checked, because what it needs failed or was not checked"),
    "verifier_error": ("核验程序自身出错", "the verifier itself failed"),
    # rt.1
    "cloud_unreachable": ("云端接口无应答", "the cloud's API does not answer"),
    "cloud_refused": ("云端接口拒绝或答复不可用", "the cloud's API refuses or answers what cannot be used"),
    "token_refused": ("云端不接受核验令牌", "the cloud does not accept the verifier's token"),
    "not_in_cloud": ("云端没有这台设备", "the cloud does not have this machine"),
    "edge_not_pinned": (
        "云端称由某边缘网关接入，但核验计划未登记其公钥",
        "the plan pins no key for the edge the cloud names",
    ),
    "edge_not_challenged": ("未能质询边缘网关", "the edge could not be challenged"),
    "broker_unreachable": ("消息代理连不上，无法质询", "the broker cannot be reached, so nothing could be challenged"),
    "broker_refused": ("消息代理的凭据文件不可用", "the broker's credential files cannot be used"),
    "no_nonce": ("随机数没有在签名帧头中返回", "the nonce did not come back in a signed header"),
    "nonce_late": ("随机数返回过迟", "the nonce came back too late"),
    "frame_wrong_key": ("应答帧由其他密钥签名", "the answering frame is signed by another key"),
    "frame_bad_signature": ("应答帧签名不符", "the answering frame's signature does not fit"),
    "frame_malformed": ("应答帧格式不符", "the answering frame is malformed"),
    "frame_oversize": ("应答帧过大", "the answering frame is too large"),
    "frame_no_nonce": ("应答帧中没有随机数", "the answering frame does not carry the nonce"),
    "not_in_ledger": ("云端账本中没有应答帧", "the answering frame is not in the cloud's ledger"),
    "proof_malformed": ("账本证明格式不符", "the ledger's proof is malformed"),
    "proof_not_this_frame": (
        "账本中的内容不是链路上看到的那一帧",
        "the ledger holds another frame than the one on the wire",
    ),
    "proof_bad_head": ("账本头签名不符", "the ledger's head is not signed with the pinned key"),
    "proof_head_without_shard": (
        "账本头不含该分片的这一大小",
        "the signed head does not cover this shard at this size",
    ),
    "proof_not_included": ("包含性证明不成立", "the inclusion proof does not verify"),
    "machine_silent": (
        "设备不应答核验方，云端也如实未显示良好值",
        "the machine answers nobody, and the cloud says so",
    ),
    "no_access": ("核验方无权访问设备", "the machine does not let the verifier in"),
    "silent_but_shown_good": (
        "设备不应答，云端却显示新的良好值",
        "the machine is silent, yet the cloud shows good values",
    ),
    "cloud_not_fresh": (
        "设备有应答，云端没有质询后的新值",
        "the cloud shows nothing newer than the challenge",
    ),
    "nothing_changed": (
        "设备处于静止，期间无变化可推送",
        "the machine is at rest: nothing changed that could be shown",
    ),
    "identity_not_served": (
        "设备不提供铭牌，须人工核对",
        "the machine serves no nameplate; a person has to compare it",
    ),
    "identity_not_in_cloud": ("云端没有铭牌可比", "the cloud has no nameplate to compare with"),
    "identity_differs_from_cloud": ("设备铭牌与云端不一致", "the machine's nameplate differs from the cloud's"),
    "identity_differs_from_points": (
        "设备铭牌与企业签名点表不一致",
        "the nameplate differs from the signed point list",
    ),
    "period_longer_than_watch": (
        "采集周期或成帧周期长于观察时间",
        "the period of scans or frames is longer than the watch",
    ),
    # rt.2
    "state_not_declared": ("点表未列运行状态", "the point list has no run state"),
    "state_not_shown": ("云端未显示运行状态", "the cloud does not show the run state"),
    "state_not_read": ("未能读取运行状态", "the run state could not be read"),
    "state_differs": ("运行状态与设备直读不一致", "the run state differs from what the machine says"),
    "state_differs_once": (
        "运行状态个别时刻与设备直读不一致",
        "the run state differed from the machine at some moment",
    ),
    "state_stale": ("运行状态陈旧且与设备不符", "the run state is old and no longer what the machine says"),
    "state_not_refreshed": ("运行状态未按周期刷新", "the run state is not refreshed at its period"),
    "state_not_compared": ("运行状态没有可比的时刻", "there was no moment at which the run state could be compared"),
    "state_unknown": ("运行状态值没有对应名称", "this value of the run state has no name"),
    # rt.3
    "values_differ": ("量值与设备直读矛盾", "values contradict what the machine says"),
    "values_differ_once": ("个别时刻量值与设备直读不一致", "values differed from the machine at some moments"),
    "tags_missing": ("已申报的点在云端不存在", "declared tags do not exist in the cloud"),
    "tags_not_shown": ("设备有值而云端未显示", "the machine serves tags that the cloud does not show"),
    "tags_flagged": ("云端将设备正常给出的值标为异常", "the cloud flags values that the machine serves as good"),
    "deadband_wide": ("死区过宽，掩盖变化", "a deadband is so wide that it hides changes"),
    "stamped_in_future": (
        "样本时刻晚于收到时刻",
        "samples carry a time later than when they were received",
    ),
    "few_compared": ("半数以上模拟量无从比对", "more than half of the analogue tags could not be compared"),
    "nothing_compared": ("没有可比的模拟量", "no analogue tag could be compared"),
    # rt.4
    "stale_shown_good": ("陈旧值被显示为良好", "old values are shown as good"),
    "no_samples": ("实时订阅没有样本可量", "there were no samples on the feed to measure"),
    "newest_too_old": ("最新样本过旧", "the newest sample is too old"),
    "latency_high": ("时延过大", "the latency is too high"),
    "clock_offset": ("时钟偏差过大，须人工复核", "a clock is off by more than a note; a person has to look"),
    "slower_than_listed": (
        "比签名点表的周期慢（成帧或扫描周期较长），须人工复核",
        "slower than the signed list says, by the length of frames or scans; a person has to look",
    ),
    "not_refreshed": ("量值未按周期刷新", "values are not refreshed at their period"),
    # rt.5
    "feed_refused": ("实时订阅连不上", "the live feed cannot be opened"),
    "feed_broke": ("实时订阅中断", "the live feed broke"),
    "sequence_holes": ("推送序号有缺口或重复", "the sequence of pushed messages has holes or repeats"),
    "not_silent_after_unsubscribe": ("退订后仍有数据", "data still came after unsubscribing"),
    "silence_not_heard": ("未能听到退订后的静默", "silence after unsubscribing could not be heard"),
    "no_messages": ("没有推送任何数据", "nothing was pushed"),
    "messages_repeat": ("推送的数据时间不前进", "the pushed data do not move on in time"),
    "tags_not_pushed": ("设备上变化的点没有推送", "tags that changed at the machine were not pushed"),
    "too_few_messages": ("推送的数据太少", "too little was pushed"),
}

FIGURES: dict[str, str] = {
    "edge": "边缘",
    "nonce_back_s": "随机数返回",
    "ledger_arrival_s": "入账",
    "ledger_leaf": "账本位置",
    "fresh_sample_after_challenge_s": "质询后新样本",
    "state": "状态",
    "state_age_s": "状态时效",
    "compared": "已比对",
    "samples_compared": "已比对样本",
    "declared": "申报点数",
    "analogue_compared": "已比对模拟量",
    "analogue_share_compared": "已比对模拟量占比",
    "not_compared": "未能比对",
    "stamped_in_future": "晚于收到时刻的样本",
    "contradictions": "连续矛盾时刻",
    "contradictions_in_all": "矛盾时刻合计",
    "worst_tag": "最大偏差点",
    "worst_shown": "云端值",
    "worst_outside": "超出容差",
    "latency_p95_s": "时延P95",
    "latency_beyond_period_p95_s": "扣除周期后时延P95",
    "latency_of_newest_beyond_period_p95_s": "同批最新样本扣除周期后时延P95",
    "longest_frame_pause_s": "最长成帧间隔",
    "newest_age_s": "最新样本时效",
    "clock_machine_s": "设备时钟偏差",
    "clock_edge_s": "边缘时钟偏差",
    "clock_cloud_s": "云端时钟偏差",
    "clock_own_s": "核验方时钟偏差",
    "messages_pushed": "推送消息",
    "messages_in_all": "消息总数",
    "sequence_holes": "序号缺口",
    "messages_after_unsubscribe": "退订后消息",
    "listened_s": "收听时长",
    "moved_tags": "有变化的点",
    "moved_tags_pushed_share": "变化点推送占比",
}


def text(state: State, reason: str, details: str, *, blocked_by: str | None, simulated: bool) -> tuple[str, str]:
    """(zh, en) of a finding. What rests on a simulated machine says so first; no machine was witnessed physically here."""
    zh, en = PHRASES.get(reason, (reason, reason))
    if blocked_by:
        zh, en = f"{zh}（{blocked_by}）", f"{en} ({blocked_by})"
    if details:
        zh, en = f"{zh}：{details}", f"{en}: {details}"
    zh, en = f"{STATE_ZH[state]}：{zh}", f"{state.value}: {en}"
    if state is State.PASS:
        zh, en = f"{zh}（未见证实体设备）", f"{en} (machine not witnessed)"
    return (f"【仿真数据】{zh}", f"[SIMULATED] {en}") if simulated else (zh, en)
