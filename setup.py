"Everything that describes the package stands in settings.ini; this file hands it to setuptools."
from configparser import ConfigParser
from pathlib import Path
import shutil
from setuptools import setup, find_packages
from setuptools.command.build_py import build_py

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']

statuses = ['1 - Planning', '2 - Pre-Alpha', '3 - Alpha', '4 - Beta', '5 - Production/Stable']
python_versions = [f'3.{m}' for m in range(int(cfg['min_python'].split('.')[1]), 14)]

class BuildWithNotebook(build_py):
    "The notebook that a grid runs by papermill goes into the package"
    def run(self):
        super().run()
        if not self.editable_mode: shutil.copy2(here/'nbs'/'05_experiments.ipynb', Path(self.build_lib)/cfg['lib_name'])

def long_description():
    "README.md with links that lead somewhere from outside the repository"
    f = here/'README.md'
    if not f.exists(): return cfg['description']
    text,repo = f.read_text(encoding='utf-8'),f"{cfg['user']}/{cfg['repo']}"
    text = text.replace('](nbs/images/', f"](https://raw.githubusercontent.com/{repo}/{cfg['branch']}/nbs/images/")
    return text.replace('](nbs/', f"]({cfg['git_url']}/blob/{cfg['branch']}/nbs/")

setup(
    cmdclass={'build_py': BuildWithNotebook},
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=long_description(),
    long_description_content_type='text/markdown',
    url=cfg['git_url'],
    author=cfg['author'],
    author_email=cfg['author_email'],
    license='Apache-2.0',
    keywords=cfg['keywords'],
    classifiers=[f"Development Status :: {statuses[int(cfg['status'])-1]}", f"Intended Audience :: {cfg['audience']}",
                 f"Natural Language :: {cfg['language']}", 'Topic :: Scientific/Engineering :: Astronomy',
                 *[f'Programming Language :: Python :: {v}' for v in python_versions]],
    packages=find_packages(include=[cfg['lib_name'], f"{cfg['lib_name']}.*"]),
    package_data={cfg['lib_name']: ['weights/*.safetensors','weights/*.json']},
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg['requirements'].split(),
    extras_require={'dev': cfg['dev_requirements'].split(), 'bench': cfg['bench_requirements'].split(),
                    'catalog': cfg['catalog_requirements'].split(), 'cluster': cfg['cluster_requirements'].split()},
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]},
    zip_safe=False,
)
