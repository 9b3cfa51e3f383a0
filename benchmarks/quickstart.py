"""Run the quickstart and keep its table.

    python benchmarks/quickstart.py NAME [arguments of examples/quickstart.py]

The table goes to `benchmarks/quickstart_NAME.json`; `render_quickstart.py` makes Markdown of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from record import command_line, provenance, save

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples" / "quickstart.py"


def main() -> None:
    """Run the example as anybody would, in the folder `results`."""
    name, *arguments = sys.argv[1:]
    folder = HERE.parent / "results"
    network = arguments[arguments.index("--network") + 1] if "--network" in arguments else "bandwise"
    started, origin = time.perf_counter(), provenance()
    command = [sys.executable, EXAMPLE, *arguments, "--output", folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = round(time.perf_counter() - started)
    print(done.stdout)
    said = done.stdout.splitlines()
    rows = json.loads(pd.read_csv(folder / f"quickstart_{network}.csv").to_json(orient="records"))
    sizes = said[said.index(next(line for line in said if "clips, RIRs" in line)) :][:5]
    loss = next(line for line in said if line.startswith("validation loss"))
    result = {"seconds": seconds, "sizes": sizes, "loss": loss, "rows": rows} | origin
    result["command"] = command_line(EXAMPLE, arguments)
    save(HERE / f"quickstart_{name}.json", result)


if __name__ == "__main__":
    main()
