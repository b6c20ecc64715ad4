"""Training data out of a historian's database: the rows of a query, read as a file with its columns would be."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stream_detector.errors import DataError, UsageError
from stream_detector.extras import need
from trainer.data.dataset import Dataset, read_query_dataset
from trainer.data.influx_dataset import SCHEMES as INFLUX
from trainer.data.influx_dataset import read_influx_dataset
from trainer.recipe import DataConfig

SCHEMES = ("postgresql", "postgres")


def read_sql_dataset(url: str, query: str, config: DataConfig) -> Dataset:
    """The rows of a query; memory grows with what is learnt from, not with what the database sends.

    url: of a PostgreSQL (or TimescaleDB) database; what it leaves out libpq finds as always (PGPASSFILE, ...). Or of
    one of InfluxDB, see `read_influx_dataset`.

    Raises:
        DataError: the database cannot be reached or refuses the query; it has no rows, or they are not what the config
            says.
        UsageError: it is another kind of database, or what reads it is not installed.
    """
    try:
        address = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"--from-sql wants postgresql://HOST/DATABASE: {error}") from error
    if address.scheme in INFLUX:
        return read_influx_dataset(url, query, config)
    if address.scheme not in SCHEMES:
        raise UsageError(
            "--from-sql wants postgresql://HOST/DATABASE or influxdb://HOST/DATABASE, and not "
            f"{address.scheme or url!r}"
        )
    need("`--from-sql`", "adbc_driver_postgresql", "pyarrow")
    name = f"{address.hostname or 'localhost'}{address.path}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "query.parquet"
        _write(file, _batches(url, query, name), name)
        return read_query_dataset(file, config, name)


def _batches(url: str, query: str, name: str) -> Iterator[Any]:
    from adbc_driver_manager import Error
    from adbc_driver_postgresql import dbapi

    try:
        with dbapi.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            yield from cursor.fetch_record_batch()
    except Error as error:
        said = " ".join(str(error).split())
        raise DataError(f"{name} does not answer the query: {said}") from error


def _write(file: Path, batches: Iterator[Any], name: str) -> None:
    """Batch by batch to a Parquet file. Numbers of any length come as text, which the reader understands."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    writer = None
    try:
        for batch in batches:
            plain = [column.storage if hasattr(column, "storage") else column for column in batch.columns]
            table = pa.Table.from_arrays(plain, names=batch.schema.names)
            writer = writer or parquet.ParquetWriter(file, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise DataError(f"the query on {name} has no rows")
