"""A scheduler's signal ends the command in time, with the exit code that requeues it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from repro import preemption
from repro.cli import main as cli
from repro.cli.commands import doctor
from repro.errors import Preempted


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in preemption.SIGNALS}
    preemption.install()
    yield
    preemption.install()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", preemption.SIGNALS)
def test_outside_a_training_the_signal_ends_at_once(number: signal.Signals):
    with pytest.raises(Preempted, match=number.name):
        os.kill(os.getpid(), number)


def test_in_a_training_it_is_noted_and_raised_behind_it():
    noted = []

    def training() -> None:
        with preemption.deferred():
            noted.append(preemption.requested())
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR1)
            noted.append(preemption.requested())

    with pytest.raises(Preempted, match="SIGUSR1"):
        training()
    assert noted == ["", "SIGUSR1"]


def test_the_command_line_ends_with_the_code_that_requeues(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def preempted(_options: object) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    monkeypatch.setattr(doctor, "configure", lambda parser, _name: parser.set_defaults(execute=preempted))
    assert cli.main(["doctor"]) == Preempted.exit_code == 75
    assert "ended by SIGTERM" in capsys.readouterr().err


def test_a_worker_outlives_the_first_signal_to_its_group_and_ends_by_the_second():
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        os.write(2, b"")
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM
