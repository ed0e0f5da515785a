"""The soak tells what grows from what does not, and its tool runs."""

import pytest

from lab import soak
from lab.soaks import Limits, Sample, growth, table_of, take_sample

MIB = 2**20


def samples(main=lambda t: 500, workers=lambda t: 90, descriptors=lambda t: 20):
    times = range(0, 20_001, 500)
    return [Sample(t, int(main(t) * MIB), int(workers(t) * MIB), descriptors(t)) for t in times]


def verdicts(given, **limits):
    return {row.what: row.is_flat for row in growth("run", given, Limits(**limits))}


def test_what_stays_is_flat_also_with_a_warm_up_and_a_jump():
    def jumps(time):
        return 300 if time < 2000 else (470 if time == 12_000 else 420)

    assert verdicts(samples(main=jumps)) == {"main": True, "workers": True, "descriptors": True}


@pytest.mark.parametrize("what", ["main", "workers", "descriptors"])
def test_a_leak_is_found_and_measured(what):
    leak = samples(**{what: lambda time: 100 + time // 500})  # 2 per 1000
    assert verdicts(leak) == {name: name != what for name in ("main", "workers", "descriptors")}
    (row,) = [row for row in growth("run", leak, Limits()) if row.what == what]
    assert row.per_1000 == pytest.approx(2, abs=0.01) and row.last == 140
    assert "+2.000" in table_of([row]) and "GROWS" in table_of([row])
    assert verdicts(leak, mebibytes=3, descriptors=3)[what]


def test_less_than_the_noise_is_no_growth():
    few = [sample._replace(position=sample.position // 1000) for sample in samples()]
    few = [sample._replace(main=sample.main + 2 * MIB * (sample.position > 12)) for sample in few]
    assert verdicts(few)["main"] and not verdicts(few, noise=0.1)["main"]


def test_too_few_samples_are_an_error():
    with pytest.raises(ValueError, match="run: 2 samples after the warm-up"):
        growth("run", samples()[:2], Limits(warmup=0))


def test_a_sample_sees_this_process_and_its_open_files(tmp_path):
    before = take_sample(7)
    with open(tmp_path / "a", "w"):
        assert take_sample(7).descriptors == before.descriptors + 1
    assert before.position == 7 and before.main > 20 * MIB


@pytest.mark.slow(reason="trains and evaluates with workers")
def test_it_prints_a_table_and_its_exit_code_is_the_verdict(capsys, monkeypatch):
    monkeypatch.setattr(soak, "QUICK", {"streams": 48, "training": 6, "evaluation": 24})

    def run(*arguments):
        return soak.main(["--quick", *arguments]), capsys.readouterr().out

    code, printed = run("--noise", "500")
    lines = printed.strip().splitlines()
    assert code == 0 and len(lines) == 2 + 9
    for start in ("streams (48)", "training (6)", "evaluation (24)"):
        assert sum(line.startswith(f"| {start}") for line in lines) == 3
    limits = ("--max-growth", "-1000000000", "--noise", "-1000000000")  # nothing shrinks so fast
    code, printed = run("--runs", "streams", *limits)
    assert code == 1 and "GROWS" in printed
