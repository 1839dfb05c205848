"""Errors: each on one line, with its exit status, in the format of the log."""

from __future__ import annotations

import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from daskgmm.errors import (
    DaskGMMError,
    DaskGMMWarning,
    InterruptedFitError,
    ParameterError,
    StorageError,
    UnreachableError,
)
from daskgmm.events import Failed, JsonLines, Log, log_opened
from daskgmm.lazily import Lazily
from daskgmm.log_format import asks_for_json
from daskgmm.redaction import on_one_line, one_line, redacted

if TYPE_CHECKING:
    from daskgmm import storage
else:
    storage = Lazily("daskgmm.storage")

__all__ = ["Main", "append_to", "reported", "way_on"]


@contextmanager
def reported(log_format: str, log_file: str | None, way_on: str | None) -> Iterator[Log]:
    """Errors as one line and an exit status; what happens until then as lines of a log."""
    with (
        warnings.catch_warnings(),
        _terminable() as interrupted,
        _as_click_errors(way_on, interrupted),
    ):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", DaskGMMWarning)
        # By its message, since its class is scikit-learn's, which takes a second to import.
        warnings.filterwarnings("always", message="not converged: ")
        with log_opened(log_format) as log:
            append_to(log_file, log)
            try:
                with _as_click_errors(way_on, interrupted):
                    yield log
            except click.ClickException as error:  # which click, or the group, shows
                log.write_to_files(_failed(error))
                raise
            except Exception as error:
                log.write_to_files(_crashed(error))
                raise


def append_to(file: str | None, log: Log) -> None:
    """Have a log written to a local file, too, from now on; None is no file.

    Raises
    ------
    StorageError
        If the file cannot be written, or lies inside a Zarr node.
    """
    if file is None:
        return
    node = storage.enclosing_node(file)
    if node is not None:
        raise StorageError(f"log: {redacted(file)} is inside {node}, which is Zarr; name another")
    log.append_to(file)


@contextmanager
def _as_click_errors(way_on: str | None, interrupted: _Interrupted) -> Iterator[None]:
    """Each error in the class that has its exit status.

    ``way_on`` says how a command that was interrupted goes on; None if it cannot. After a
    signal any other error counts as the interruption: some libraries turn a KeyboardInterrupt
    into an error of their own, as NumPy does where it compares rows.
    """
    try:
        yield
    except (click.ClickException, click.exceptions.Exit):
        raise
    except InterruptedFitError as error:
        raise _ResumableException(on_one_line(error)) from None
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, KeyboardInterrupt) or interrupted.is_set:
            raise _interruption(way_on) from None
        if isinstance(error, MemoryError) and not isinstance(error, DaskGMMError):
            raise click.ClickException(
                f"the system gave no more memory ({one_line(error)}); lower --memory-limit or the "
                "number of threads, or end what else takes it"
            ) from None
        if isinstance(error, ParameterError):
            raise _ParameterException(on_one_line(error)) from None
        if not isinstance(error, DaskGMMError):
            raise
        # An outage is the same before a command has begun and after.
        is_outage = way_on is not None and isinstance(error, UnreachableError)
        is_resumable = error.is_resumable or is_outage
        kind = _ResumableException if is_resumable else click.ClickException
        raise kind(on_one_line(error)) from None


def _interruption(way_on: str | None) -> click.ClickException:
    if way_on is not None:
        return _ResumableException(f"interrupted; {way_on}")
    return click.ClickException("interrupted; no output was left half written")


def way_on(options: Mapping[str, Any]) -> str | None:
    """Instruction to resume a command that was interrupted; None if it would start anew."""
    if "job_file" in options:
        return "run the same command again to go on"
    if options.get("checkpoint") is not None:
        return "run the same command again with --resume to go on"
    return None


class _ParameterException(click.ClickException):
    """A value that cannot be used, with these data or others: exits as wrong usage does.

    The line of usage, which click shows with its own errors, would say nothing about it.
    """

    exit_code = click.UsageError.exit_code


class _ResumableException(click.ClickException):
    """Unfinished but resumable: exits with EX_TEMPFAIL, on which batch systems try again."""

    exit_code = 75


@dataclass
class _Interrupted:
    """Whether a signal has come; no Event, for whose lock a signal's handler could wait for ever."""

    is_set: bool = False


@contextmanager
def _terminable() -> Iterator[_Interrupted]:
    """End at SIGTERM, which batch systems send before they kill, as at Ctrl-C.

    Yields the flag that says whether either has come.
    """
    interrupted = _Interrupted()

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.is_set = True
        # It would log every read that is cut off, when the interpreter ends.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
        signal.default_int_handler(number, frame)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # as a shell has it for `command &`
                signal.signal(number, interrupt)
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failed(error: click.ClickException) -> Failed:
    return Failed(on_one_line(error.format_message()), error.exit_code)


def _crashed(error: Exception) -> Failed:
    """Event for an unforeseen error, with its traceback."""
    text = f"{type(error).__name__}: {on_one_line(error)}"
    return Failed(text, 1, traceback=redacted("".join(traceback.format_exception(error))))


def _nearest_first(error: click.NoSuchOption) -> click.NoSuchOption:
    """The error with what was most probably meant first, where click follows the alphabet.

    An option is also known by the name that its parameter has in Python.
    """
    parameters = error.ctx.command.params if error.ctx is not None else []
    asked = error.option_name.lstrip("-").replace("-", "_")
    by_name = [parameter.opts[0] for parameter in parameters if parameter.name == asked]
    near = by_name or get_close_matches(error.option_name, error.possibilities or [], 3, 0.0)
    if not near:
        return error
    others = f" Others like it: {', '.join(map(repr, near[1:]))}." if near[1:] else ""
    said = f"{error.message.rstrip('.')}. Did you mean {near[0]!r}?{others}"
    return click.NoSuchOption(error.option_name, said, ctx=error.ctx)


class Main(click.Group):
    """The group of commands, which shows their errors in the format of the log."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the format before anything can be wrong."""
        ctx.meta[_AS_JSON] = asks_for_json(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; as JSON, its errors are lines of the log.

        Where standard error takes none, the status still says how it ended.
        """
        as_json: bool = ctx.meta[_AS_JSON]
        show = JsonLines(sys.stderr)
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            if isinstance(error, click.NoSuchOption):
                error = _nearest_first(error)
            with suppress(OSError, ValueError):
                show(_failed(error)) if as_json else error.show()
            ctx.exit(error.exit_code)
        except click.exceptions.Exit:
            raise
        except Exception as error:
            if not as_json:
                raise
            with suppress(OSError, ValueError):
                show(_crashed(error))
            ctx.exit(1)


_AS_JSON = "daskgmm.errors_as_json"
