"""What goes into the wheel; setup.cfg has the rest.

`common`, `models` and `utils` are MMRec's names and would clash with others in site-packages, so
that they and configs go into the package, to ld4mrec/roots.
"""

from setuptools import find_packages, setup

ROOTS = {
    f"ld4mrec.roots.{name}": f"src/{name}" for name in ("common", "configs", "models", "utils")
}

setup(
    packages=[*find_packages("src", include=["ld4mrec", "ld4mrec.*"]), *ROOTS],
    package_dir={"ld4mrec": "src/ld4mrec"} | ROOTS,
    package_data={"ld4mrec": ["py.typed", "*/*.css", "*/*.html", "*/*.js", "*/*.yaml"]}
    | {"ld4mrec.roots.configs": ["*.yaml", "*/*.yaml"]},
)
