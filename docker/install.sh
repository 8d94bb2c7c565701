# install.sh REQUIREMENTS IMPORTS: pinned packages are in /opt/featurestore, and byte code of what these imports load.
# All byte code would be tens of megabytes more, and none would make every start slower. It is bound to no time of a file, so that
# the same packages are the same bytes whenever they are installed.
set -eu
pip="/build/bin/pip --python /opt/featurestore/bin/python"
# nkeys is published as sources alone, which setuptools builds; like all else, that has a hash, and it does not stay.
$pip install --quiet --require-hashes --no-compile -r requirements/build.txt
$pip install --quiet --require-hashes --only-binary :all: --no-binary nkeys --no-build-isolation --no-deps --no-compile -r "$1"
sed -n 's/^\([a-z-]*\)==.*/\1/p' requirements/build.txt | while read -r name; do
    grep -q "^$name==" "$1" || $pip uninstall --quiet --yes "$name"
done
/opt/featurestore/bin/python -B -c "
import $2
import py_compile, sys
for path in {getattr(module, '__file__', None) for module in [*sys.modules.values()]}:
    if path and path.startswith('/opt/featurestore/') and path.endswith('.py'):
        py_compile.compile(path, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"
