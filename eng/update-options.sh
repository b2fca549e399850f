#!/usr/bin/env bash
# Writes docs/options.md, and the schema of configurations that Xfn.Core.Hosting brings, from the classes of options,
# their documentation comments, and the flags of xfn.
# Read the difference before you commit it: it is what users will see.
set -euo pipefail
cd "$(dirname "$0")/.."
dotnet build tests/Xfn.Core.Samples.Tests -v quiet -clp:NoSummary
XFN_UPDATE_DOCS=1 tests/Xfn.Core.Samples.Tests/bin/Debug/net10.0/Xfn.Core.Samples.Tests --filter "FullyQualifiedName~The_page_of_options|FullyQualifiedName~The_schema_of_configurations"
