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
# Images such as python:3.11-slim have no byte code of the standard library, and whoever runs there may not write it: it would be compiled
# at every start, half a second of a processor. What is missing of it is in /standard, at the path where it belongs.
mkdir /standard
/opt/featurestore/bin/python -B -c "
import $2
import importlib.util, os, py_compile, sys, sysconfig
standard, known = sysconfig.get_path('stdlib') + '/', py_compile.PycInvalidationMode.UNCHECKED_HASH
for path in {getattr(module, '__file__', None) for module in [*sys.modules.values()]}:
    if not path or not path.endswith('.py'):
        continue
    compiled = importlib.util.cache_from_source(path)
    if path.startswith('/opt/featurestore/'):
        py_compile.compile(path, compiled, doraise=True, invalidation_mode=known)
    elif path.startswith(standard) and not os.path.exists(compiled):
        py_compile.compile(path, '/standard' + compiled, doraise=True, invalidation_mode=known)
"
