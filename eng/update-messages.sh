#!/usr/bin/env bash
# Writes the messages of the source into docs/troubleshooting.md.
# Read the difference before you commit it: it is what users will see.
set -euo pipefail
cd "$(dirname "$0")/.."
dotnet build tests/Xfn.Core.Tests -v quiet -clp:NoSummary
XFN_UPDATE_DOCS=1 tests/Xfn.Core.Tests/bin/Debug/net10.0/Xfn.Core.Tests --filter "FullyQualifiedName~The_list_of_messages"
