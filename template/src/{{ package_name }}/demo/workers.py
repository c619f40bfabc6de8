"""Shows tasks in memory; `make worker` runs them from a Redis."""

from ..workers import TASKS, TaskClient, TaskSettings, make_broker


class Shop:
    """Takes payments over a line that breaks at times."""

    def __init__(self) -> None:
        self.tries = 0
        self.paid: dict[str, int] = {}

    async def pay(self, key: str, cents: int) -> int:
        """Book a payment once for each key; return what was booked."""
        self.tries += 1
        self.paid.setdefault(key, cents)
        if self.tries < 3:
            raise ConnectionError("the line broke after the booking")
        return self.paid[key]


async def show() -> None:
    """Run tasks that work, fail, are tried again, or take too long."""
    shop = Shop()
    broker = make_broker(
        {**TASKS, "pay": shop.pay},
        redis_url="",
        settings=TaskSettings(first_wait=0.1, jitter=0.1),
    )
    async with TaskClient(broker, poll_interval=0.02) as tasks:
        numbers = {"numbers": [1, 2, 3]}
        result = await tasks.run("summarise", numbers)
        print(f"a task returned: {result.result}")

        result = await tasks.run("summarise", {"numbers": []})
        print(f"another failed: {result.error!r}")

        payment = {"key": "order-1", "cents": 500}
        result = await tasks.run("pay", payment)
        print(f"paid {result.result} cents in {shop.tries} tries")
        print(f"and booked it once: {shop.paid}")

        for name, payload in [("sum", {}), ("pay", {"key": "order-2"})]:
            try:
                await tasks.submit(name, payload)
            except (LookupError, TypeError) as error:
                print(f"refused: {error}")

        shop.tries = 0
        task_id = await tasks.submit("pay", payment)
        try:
            await tasks.wait(task_id, timeout=0.05)
        except TimeoutError:
            print("no result within 50 ms; the task goes on")
        result = await tasks.wait(task_id)
        print(f"and it succeeded: {result.succeeded}")
