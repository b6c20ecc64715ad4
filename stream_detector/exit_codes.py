"""How a command ends: one meaning of exit codes for both programs, and no traceback for a user's mistake."""

import sys
import traceback
from collections.abc import Callable

from stream_detector.errors import StreamDetectorError
from stream_detector.logs import quiet_libraries
from stream_detector.names import printable

EXIT_SOFTWARE = 70
"""A fault of ours (sysexits' EX_SOFTWARE)."""


def run_command(command: Callable[[], object], program: str) -> int:
    """Run `command` and return the exit code that it ends with; errors are printed, `program` names who is at fault."""
    quiet_libraries()
    try:
        command()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except StreamDetectorError as error:
        print("error: " + "\n".join(map(printable, str(error).split("\n"))), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except Exception:  # noqa: BLE001 - the last resort: report and end
        traceback.print_exc()
        print(f"error: this is a fault of {program} itself; please report the lines above", file=sys.stderr)
        return EXIT_SOFTWARE
    return 0
