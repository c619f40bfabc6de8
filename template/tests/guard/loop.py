"""An event loop that notices what is lost and can shuffle its tasks."""

import asyncio
import sys
from asyncio import (
    AbstractEventLoop,
    CancelledError,
    Future,
    Handle,
    Task,
    TimerHandle,
    all_tasks,
    current_task,
)
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from functools import partial, wraps
from random import Random
from threading import get_ident
from time import thread_time
from types import AsyncGeneratorType, FrameType, coroutine
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet, ref

from .callers import is_tool_at_work
from .places import (
    current_line,
    is_importing,
    is_source,
    line_of,
    line_that_raised,
    path_of,
)
from .resources import Made
from .threads import ProjectFuture, note_wrong_thread
from .watch import Watch

# Any, because most of what is changed here is private to asyncio.
BaseLoop: Any = asyncio.SelectorEventLoop
if sys.platform == "win32":
    BaseLoop = asyncio.ProactorEventLoop

Value = TypeVar("Value")

# What makes something that must be closed, and the check for it.
MAKERS = {
    "connect_read_pipe": "leaked-transport",
    "connect_write_pipe": "leaked-transport",
    "create_connection": "leaked-transport",
    "create_datagram_endpoint": "leaked-transport",
    "create_server": "leaked-server",
    "create_unix_connection": "leaked-transport",
    "create_unix_server": "leaked-server",
}

# The attribute of a task that says where it was made. On the task, because
# weak references to it are gone by the time that it is reported as lost.
MADE_AT = "_guard_made_at"

# What made the task, by a weak reference.
MADE_BY = "_guard_made_by"

# What a task draws for a while: its priority among those that are ready, and
# the pace of its mocks.
PRIORITY = "_guard_priority"
PACE = "_guard_pace"

# How likely a task draws anew when that is asked for.
CHANGE = 0.1

# Turns that what was cancelled or closed may take to come to its end.
GRACE = 10

# And those for calls of mocks that are under way: five of a slow task.
GRACE_OF_MOCKS = 20

# Tasks that a library keeps until the loop ends, and that nobody else can reach.
KEPT_BY_LIBRARIES = frozenset(["_shutdown_process_pool_on_exit"])  # of anyio.to_process

# What asyncio itself tells of an error that nobody handled. Without any of
# it, the code at work reports an error that it has seen.
TOLD_BY_ASYNCIO = frozenset(
    ["asyncgen", "future", "handle", "protocol", "server", "task", "transport"]
)


@coroutine
def take_turn() -> Generator[None]:
    """Let the other tasks run once, as `asyncio.sleep(0)` does.

    That name may be a test's mock; this one is the guard's own.
    """
    yield


def draw_at_times(task: object, name: str, source: Random, draw: Callable[[], Value]) -> Value:
    """Return what a task has drawn, which now and then is something new.

    Races that need one task to be ahead of another for many steps are
    rare where each step is drawn by itself, and likely where a task keeps
    what it drew: the idea of probabilistic concurrency testing.
    """
    value: Value | None = getattr(task, name, None)
    if value is None or source.random() < CHANGE:
        value = draw()
        setattr(task, name, value)
    return value


class GuardLoop(BaseLoop):  # type: ignore[misc]
    """The loop of async tests.

    With a seed, the steps of tasks that are ready in one turn run in an
    order drawn by it and the place of the loop. Plain callbacks keep their
    order: transports rely on it. Before a step of the test's own task, all
    runs that was ready before: tests rely on it.

    Args:
        watch: What is told of all that is found.
        step_seconds: How much CPU time one step may take.
        seed: What the order is drawn by; empty for the usual order.
    """

    def __init__(self, watch: Watch, step_seconds: float, seed: str = "") -> None:
        super().__init__()
        self.watch = watch
        self.random: Random | None = None
        self._seed = seed
        self._step_seconds = step_seconds
        # Since when the step under way is at work; 0 until it is seen.
        self.step_seen = 0.0
        self._slow_line = ""
        self._own_task: object = None
        self._tasks = WeakSet[Task[Any]]()
        # Those that a mock of the guard's keeps waiting for a moment.
        self.giving_way = WeakSet[Task[Any]]()
        # Errors that were reported, with what was known of them then.
        self._reported: list[tuple[BaseException, object, str]] = []
        # Where each was first used, by its id: when a generator is dropped,
        # weak references to it are gone already.
        self._generators: dict[int, str] = {}
        # By what was made, where that was.
        self.resources = WeakKeyDictionary[Any, tuple[str, str]]()
        # What cancels the calls of the test, in a run for that.
        self.cancellation: Any = None
        # Where timers of the project's were made, by their id.
        self._timers: dict[int, str] = {}
        self._ready = _Ready(self)
        self.set_task_factory(self._make_task)

    def begin(self, place: str) -> None:
        """Draw the orders by where the loop is used, too.

        Args:
            place: The id of its test, module or the like.
        """
        if self._seed:
            self.random = Random(f"{self._seed} {place}")  # noqa: S311 - no secret

    def run_until_complete(self, future: object) -> object:
        """Run as usual; what is run keeps its place in every turn."""
        self._own_task = future
        return super().run_until_complete(future)

    def create_future(self) -> Future[Any]:
        """Return a future that knows where it was made, if that is in the project.

        This is called for each wait, so it looks no further than that.
        """
        caller = sys._getframe(1)
        path = path_of(caller)
        if not path:
            return Future(loop=self)
        future = ProjectFuture(loop=self)
        future.made_at = f"{path}:{caller.f_lineno}"
        setattr(future, MADE_AT, future.made_at)
        return future

    def call_soon(self, *args: Any, **options: Any) -> Handle:  # noqa: ANN401
        """Call as usual; futures and tasks come here, too, for what waits for them."""
        if self._thread_id != get_ident() and self._thread_id:
            task = getattr(args[0], "__self__", None)
            note_wrong_thread(self.watch, self, getattr(task, MADE_AT, ""))
        handle: Handle = super().call_soon(*args, **options)
        return handle

    def call_at(self, *args: Any, **options: Any) -> TimerHandle:  # noqa: ANN401
        """Call as usual, and know which timers the project has made itself."""
        note_wrong_thread(self.watch, self)
        timer: TimerHandle = super().call_at(*args, **options)
        caller = sys._getframe(1)
        if caller.f_globals is BaseLoop.call_later.__globals__ and caller.f_back:
            caller = caller.f_back
        path = path_of(caller)
        if is_source(path):
            self._timers[id(timer)] = f"{path}:{caller.f_lineno}"
        else:
            # The id may have been that of another one.
            self._timers.pop(id(timer), None)
        return timer

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Take note of an error that nobody handled, then go on."""
        if self.get_exception_handler() is None:
            self._note_loss(context)
        super().call_exception_handler(context)

    def check(self) -> None:
        """Take note of what is left when all but the loop has ended."""
        for _ in range(GRACE_OF_MOCKS):
            # One that calls mocks for ever does so here, too.
            if not self.giving_way & all_tasks(self):
                break
            self._take_turns(1)
        left = all_tasks(self)
        # What others made, such as the handlers of a server, may end with what
        # they serve, and what a cancelled task has made may end with it.
        forgotten = {
            task for task in left if getattr(task, MADE_AT, "") and not _is_ended_by_others(task)
        }
        if left:
            self._take_turns(GRACE)
        for task in forgotten | all_tasks(self):
            self._check_task(task)
        for generator in list(self._asyncgens):
            self._check_generator(generator)
        for timer in self._scheduled:
            if id(timer) in self._timers:
                self._check_timer(timer)
        for resource, (check, line) in list(self.resources.items()):
            if _is_open(resource):
                name = type(resource).__name__.strip("_")
                self.watch.found(check, f"{name}, made at {line}, was not closed")
        for task in list(self._tasks):
            is_lost = task.done() and getattr(task, "_log_traceback", False)
            if is_lost and self.get_exception_handler() is None:
                self._note_loss({"exception": task.exception(), "task": task})
        self.check_reported()

    def check_reported(self) -> None:
        """Take note of errors that were reported and have reached nobody since."""
        for error, traceback, lost in self._reported:
            # As one is raised again, its traceback grows.
            if error.__traceback__ is traceback:
                self.watch.found("lost-error", f"nobody saw {lost}")
        self._reported.clear()

    def _take_turns(self, number: int) -> None:
        """Run what is ready, so many times.

        Not by a task, which what is left may cancel; and what is left may
        stop the loop.
        """
        for _ in range(number):
            self.call_soon(self.stop)
            self.run_forever()

    def sample(self, frame: FrameType | None, since: float, now: float) -> None:
        """Look at the step under way; note its line if it takes long.

        Steps are many and short, so that no clock is read for those
        between two looks. A look is late when a call into C is long:
        the step has then worked since the look before.

        Args:
            frame: What is at work.
            since: CPU time of the look before this one. Seconds.
            now: CPU time. Seconds.
        """
        if is_importing(frame) or is_tool_at_work(frame):
            # That happens once, at the first use of a module, or is no
            # work of the project's.
            self.step_seen = now
        elif not self.step_seen:
            self.step_seen = since
        if now - self.step_seen > self._step_seconds / 2:
            self._slow_line = current_line(frame)

    def end_step(self) -> None:
        """Take note of the step that ends here, and was seen, if it took long."""
        spent = thread_time() - self.step_seen
        self.step_seen = 0.0
        if spent > self._step_seconds:
            line, self._slow_line = self._slow_line, ""
            if is_source(line):
                self.watch.found("slow-step", f"the loop stood still for {spent:.2f} s at {line}")

    def is_own(self, task: object) -> bool:
        """Return whether it is the task of the test itself."""
        return task is self._own_task

    def _run_once(self) -> None:
        super()._run_once()
        if self.step_seen:
            self.end_step()

    def _make_task(
        self,
        loop: AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any],
        **options: Any,  # noqa: ANN401 - whatever create_task was given
    ) -> Task[Any]:
        if self.cancellation:
            coroutine = self.cancellation.wrap(self, coroutine)
        task = Task(coroutine, loop=loop, **options)
        setattr(task, MADE_AT, current_line())
        parent = current_task(loop) if loop.is_running() else None
        if self.cancellation:
            self.cancellation.note_task(task, parent)
        setattr(task, MADE_BY, parent and ref(parent))
        self._tasks.add(task)
        return task

    def _check_task(self, task: Task[Any]) -> None:
        line = getattr(task, MADE_AT, "") or _line_of(task.get_coro(), "cr_code")
        name = getattr(task.get_coro(), "__qualname__", "")
        if line and name not in KEPT_BY_LIBRARIES:
            self.watch.found("leaked-task", f"the task {name}, made at {line}, was left running")

    def _check_timer(self, timer: Any) -> None:  # noqa: ANN401 - private to asyncio
        callback = timer._callback
        while isinstance(callback, partial):
            callback = callback.func
        # One that is cancelled has none. What is not the project's, as the pop of a dict is, does no
        # work that could come too late.
        code = getattr(callback, "__code__", None)
        if code and line_of(code):
            line = self._timers[id(timer)]
            what = f"the timer of {callback.__qualname__}, made at {line}, was left to run"
            self.watch.found("leaked-timer", what)

    def _asyncgen_firstiter_hook(self, agen: AsyncGeneratorType[Any, Any]) -> None:
        if _line_of(agen, "ag_code"):
            self._generators[id(agen)] = current_line()
        else:
            # The id may have been that of another one.
            self._generators.pop(id(agen), None)
        super()._asyncgen_firstiter_hook(agen)

    def _asyncgen_finalizer_hook(self, agen: AsyncGeneratorType[Any, Any]) -> None:
        self._check_generator(agen)
        super()._asyncgen_finalizer_hook(agen)

    def _check_generator(self, agen: AsyncGeneratorType[Any, Any]) -> None:
        line = self._generators.get(id(agen)) or _line_of(agen, "ag_code")
        if line and agen.ag_frame:
            name = agen.__qualname__
            self.watch.found("leaked-generator", f"{name}, used at {line}, was left before its end")

    def _note_loss(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        task = context.get("task") or context.get("future")
        if isinstance(error, CancelledError):
            return
        if error:
            lost = f"{error!r}{_origin(error, task, context)}"
            self._reported.append((error, error.__traceback__, lost))
        elif task is not None and "destroyed" in context["message"]:
            self._check_task(task)


def _noting(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return a method of the loop that takes note of what it makes."""
    make = getattr(BaseLoop, name)

    @wraps(make)
    async def noting(loop: GuardLoop, *args: object, **options: object) -> object:
        line = current_line()
        made = await make(loop, *args, **options)
        resource = made[0] if isinstance(made, tuple) else made
        if line:
            loop.resources[resource] = (MAKERS[name], line)
            if loop.cancellation:
                found = Made(MAKERS[name], ref(resource), line, _is_open)
                loop.cancellation.note_resource(found)
        return made

    return noting


for _name in MAKERS:
    setattr(GuardLoop, _name, _noting(_name))


class _Ready(deque[Handle]):
    """What is ready to run, one turn of the loop after the other."""

    def __init__(self, loop: GuardLoop) -> None:
        super().__init__()
        self._loop = loop
        self._left = 0

    def popleft(self) -> Handle:
        """Return what runs next."""
        if not self._left:
            self._left = len(self)
            if self._loop.random and self._left > 1:
                self._shuffle(self._loop.random)
        self._left -= 1
        if self._loop.step_seen:
            self._loop.end_step()
        return super().popleft()

    def _shuffle(self, source: Random) -> None:
        """Draw another order, in which no step overtakes a callback.

        Where a callback and a step wait for the same, the step relies
        on the callback: it comes first, as asyncio has it. The test's own
        step comes after all that it is behind: a test that has slept for
        a turn relies on it that the others have had theirs.
        """
        # Threads may add to the end meanwhile, and nothing gets lost.
        ready = [deque.popleft(self) for _ in range(self._left)]
        order: list[Handle] = []
        steps: list[Handle] = []
        for handle in ready:
            if self._is_movable(handle):
                steps.append(handle)
                continue
            self._sort(steps, source)
            is_barrier = self._loop.is_own(_task_of(handle))
            number = len(steps) if is_barrier else source.randint(0, len(steps))
            order += [*steps[:number], handle]
            steps = steps[number:]
        self._sort(steps, source)
        self.extendleft(reversed(order + steps))

    def _sort(self, steps: list[Handle], source: Random) -> None:
        def priority(handle: Handle) -> float:
            return draw_at_times(_task_of(handle), PRIORITY, source, source.random)

        steps.sort(key=priority)

    def _is_movable(self, handle: Any) -> bool:  # noqa: ANN401
        task = _task_of(handle)
        name = getattr(handle._callback, "__name__", "")
        return isinstance(task, Task) and name != "cancel" and not self._loop.is_own(task)


def _task_of(handle: Any) -> object:  # noqa: ANN401 - private to asyncio
    return getattr(handle._callback, "__self__", None)


def _line_of(thing: object, attribute: str) -> str:
    """Return where the code of a generator or a coroutine begins, "" if it is not the project's."""
    # One that is compiled, as by Cython, has no code to look at.
    code = getattr(thing, attribute, None)
    return line_of(code) if code else ""


def _is_ended_by_others(task: Task[Any]) -> bool:
    """Return whether it is about to end, or what made it is, and so on."""
    maker: Task[Any] | None = task
    while maker is not None and (maker.done() or not maker.cancelling()):
        made_by = getattr(maker, MADE_BY, None)
        maker = made_by and made_by()
    return maker is not None


def _origin(error: BaseException, task: object, context: dict[str, Any]) -> str:
    """Return where an error was raised and in what, as far as that is known."""
    raised = line_that_raised(error.__traceback__)
    made = getattr(task, MADE_AT, "")
    kind = "task" if isinstance(task, Task) else "future"
    place = f" at {raised}" if raised else ""
    if made:
        return f", raised{place} in a {kind} made at {made}"
    if task is not None:
        return f", raised{place} in a {kind}"
    if TOLD_BY_ASYNCIO.isdisjoint(context):
        return f", reported at {current_line()}"
    return f", raised{place} in a callback"


def _is_open(resource: Any) -> bool:  # noqa: ANN401 - a server or a transport
    if hasattr(resource, "sockets"):
        return bool(resource.sockets)
    return not resource.is_closing()
