"""Shows the data pipeline, and a model trained on what it saved."""

import asyncio
from pathlib import Path

from rich import get_console
from rich.progress import Progress

from ..pipeline import (
    BadRecord,
    DataStore,
    Hyperparameters,
    MLModel,
    ModelConfig,
    Sample,
    data_pipeline,
    fetch_training_data,
)
from .folders import temporary_folder

RECORDS = 600


async def show() -> None:
    """Stream a file into a store, and train a model on it."""
    async with temporary_folder() as folder:
        source = folder / "records.jsonl"
        store = DataStore(folder / "samples.jsonl")
        await asyncio.to_thread(_write_records, source)
        await _run(source, store)
        await _fail(source, DataStore(folder / "strict.jsonl"))
        await _learn(store)


def _write_records(path: Path) -> None:
    squares = [(n, n * n % 97) for n in range(RECORDS)]
    samples = [Sample((a, b), 3 * a - 2 * b + 5) for a, b in squares]
    lines = [sample.to_json() for sample in samples]
    lines[365] = '{"features": [1, NaN], "target": 2}'
    path.write_text("\n".join(lines))


async def _run(source: Path, store: DataStore) -> None:
    bad: list[BadRecord] = []
    is_terminal = get_console().is_terminal
    with Progress(transient=True, disable=not is_terminal) as bar:
        task = bar.add_task("records", total=RECORDS)
        result = await data_pipeline(
            fetch_training_data(source),
            store,
            report_bad=bad.append,
            show_progress=lambda done: bar.update(task, completed=done),
        )
    print(f"saved {result.saved} records, skipped {result.skipped}:")
    for record in bad:
        print(f"record {record.position}: {record.error}")


async def _fail(source: Path, store: DataStore) -> None:
    try:
        await data_pipeline(fetch_training_data(source), store)
    except* ValueError as errors:
        print(f"without a report it fails: {errors.exceptions[0]}")
    saved = [sample async for sample in store.read()]
    print(f"and has saved the {len(saved)} before its batch")


async def _learn(store: DataStore) -> None:
    config = ModelConfig(
        "prices",
        "1.0.0",
        hyperparameters=Hyperparameters(epochs=100),
    )
    model = MLModel(config)
    try:
        model.predict([10, 20])
    except RuntimeError as error:
        print(f"too early: {error}")
    loss = await model.train([sample async for sample in store.read()])
    prediction = model.predict([10, 20])
    print(f"trained {config.name} {config.version}, error {loss:.1e}")
    print(f"3 * 10 - 2 * 20 + 5 is predicted as {prediction:.3f}")
