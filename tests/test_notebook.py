"""The notebook of the examples, executed as a reader would."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "from-file-to-money.ipynb"
PLOT = "application/vnd.plotly.v1+json"


@pytest.mark.slow
def test_the_notebook_leads_from_a_file_to_money_and_draws_what_it_says(tmp_path: Path) -> None:
    why = "the notebook runs where nbclient, nbformat and ipykernel are installed (extra dev)"
    nbclient, nbformat = (pytest.importorskip(name, reason=why) for name in ("nbclient", "nbformat"))
    pytest.importorskip("ipykernel", reason=why)
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells), "what it shows is not kept in the repository"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout")
    for said in ("sensors; not among them", "a label? y", "threshold", "Saving", "rows scored"):
        assert said in text
    assert sum(PLOT in output.get("data", {}) for output in outputs) == 4
