import io
import sys

from atoll.core.progress import Progress
from atoll.core.terminal import progress_bars


class Screen(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, *reports, quiet=False, screen=None):
    screen = screen or Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress_bars(quiet) as on_progress:
        for report in reports:
            on_progress(report)
            screen.write("|")
    return screen.getvalue()


def test_a_finished_bar_leaves_the_next_words_a_line_of_their_own(monkeypatch):
    steps = [Progress("read", done, 2, "rows") for done in (0, 1, 2)]
    text = shown(monkeypatch, *steps)
    assert text.endswith("\n|")
    assert "read: 100%" in text


def test_a_stage_that_is_run_again_gets_another_bar(monkeypatch):
    twice = [Progress("search", done, 1, "queries") for done in (0, 1, 0, 1)]
    assert shown(monkeypatch, *twice).count("search: 100%") >= 2


def test_reports_after_the_end_draw_nothing(monkeypatch):
    done = Progress("read", 2, 2, "rows")
    assert shown(monkeypatch, done, done).count("\n") == 1


def test_nothing_is_drawn_where_nobody_looks(monkeypatch):
    step = Progress("read", 1, 2, "rows")
    assert shown(monkeypatch, step, screen=io.StringIO()) == "|"
    assert shown(monkeypatch, step, quiet=True) == "|"
