"""Torch's memory tracker, on tensors without numbers: what is allocated on a device, whether there is one or not."""

from __future__ import annotations

from typing import Any

from torch.distributed._tools.mem_tracker import MemTracker


class Tracker(MemTracker):
    """Totals on a device of ``kind`` alone: what torch does for each module wants every parameter to train."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def _nothing(self, *_: Any) -> None:
        pass

    _pre_fw_hook = _post_fw_hook = _pre_bw_hook = _post_bw_hook = _nothing

    def gib(self, when: str) -> float:
        """GiB that are allocated: ``current`` or ``peak``."""
        found = self.get_tracker_snapshot(when)
        return sum(kinds["Total"] for device, kinds in found.items() if device.type == self.kind) / 2**30
