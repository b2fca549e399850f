#!/usr/bin/env bash
# Makes the site of the documents in artifacts/docs/site: guides, decisions, and the reference of the packages' API.
#   eng/docs.sh            builds the packages and makes the site
#   eng/docs.sh --serve    and serves it at http://localhost:8080 until Ctrl-C
# It takes docfx from NuGet, into artifacts/docs/tool. Warnings of docfx are errors.
. "$(dirname "$0")/common.sh"

docfx_version=2.81.0
site=artifacts/docs

need_dotnet
case ${1-} in
  "" | --serve) ;;
  *) fail "unknown option '$1'. See the head of $0" ;;
esac

docfx=$site/tool/docfx
if ! "$docfx" --version 2>/dev/null | grep -q "^$docfx_version"; then
  say "Getting docfx $docfx_version"
  rm -rf "$site/tool"
  dotnet tool install docfx --version "$docfx_version" --tool-path "$site/tool"
fi

say "Building the packages' libraries"
for library in Server Composition Hosting Testing; do
  dotnet build -c Release -v quiet -clp:NoSummary -p:RunAnalyzers=false -p:SkipSpark=true "src/Xfn.Core.$library"
done

# What is committed or about to be, where docfx adds its own: the table of contents of the decisions, and the API's pages.
say "Making the site"
rm -rf "$site/work"
mkdir -p "$site/work"
git ls-files -z --cached --others --exclude-standard -- '*.md' docs LICENSE ':!src' ':!samples' ':!tests' | xargs -0 cp --parents -t "$site/work"
cp -R eng/docs/. "$site/work"
for page in docs/decisions/0*.md; do
  title=$(sed -n '1s/^# //p' "$page")
  printf -- '- name: "%s"\n  href: %s\n' "${title//\"/\\\"}" "$(basename "$page")"
done >"$site/decisions"
{ printf -- '- name: All decisions\n  href: README.md\n' && cat "$site/decisions"; } >"$site/work/docs/decisions/toc.yml"
rm "$site/decisions"
# Links to sources are plain words: the site has none.
find "$site/work" -name '*.md' -exec sed -E -i 's,\[([^]]+)\]\((\.\./)*(src|eng|samples|tests|deploy)/[^)]*\),\1,g' {} +
"$docfx" metadata "$site/work/docfx.json"
"$docfx" build "$site/work/docfx.json" --warningsAsErrors
# The README is the first page.
cp "$site/work/site/README.html" "$site/work/site/index.html"
rm -rf "$site/site"
mv "$site/work/site" "$site/site"
rm -rf "$site/work"
echo "The site is in $site/site"
[ "${1-}" != --serve ] || exec "$docfx" serve "$site/site"
