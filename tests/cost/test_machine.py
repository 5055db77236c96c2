"""A timing knows its machine, and what the machine does not tell is None."""

from __future__ import annotations

from repro.cost import machine


def test_a_cpu_has_no_driver_and_is_called_a_cpu():
    found = machine.machine_facts("cpu")
    assert (found["kind"], found["driver"], found["gpu_memory_gib"]) == ("CPU", None, None)
    assert found["device"].endswith("threads")
    assert found["torch"]


def test_gpu_clocks_are_read_from_nvidia_smi(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '580.1, 1980, 3201, 1980, [N/A], 41'\n")
    program.chmod(0o755)
    monkeypatch.setattr(machine.shutil, "which", lambda _: str(program))
    monkeypatch.setattr(machine.torch.cuda, "get_device_properties", lambda _: object())
    found = machine.clocks("cuda:0")
    assert (found["sm_mhz"], found["memory_mhz"], found["power_w"], found["temperature_c"]) == (1980, 3201, None, 41)


def test_without_nvidia_smi_clocks_are_unknown(monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)
    found = machine.clocks("cuda:0")
    assert {found[k] for k in machine.GPU_FIELDS if k != "driver"} == {None}
