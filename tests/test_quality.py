"Quality checks on real archives, where there are any: the variable GALAXY_SSL_EXAMPLES names their folder"
import os
from pathlib import Path
import numpy as np, pytest
from fastcore.docments import docments
from galaxy_ssl.survey.checks import FAULTS, image_checks
from galaxy_ssl.survey.duplicates import find_duplicates
from galaxy_ssl.survey.report import quality_report

FOLDER = os.environ.get('GALAXY_SSL_EXAMPLES','')
ARCHIVES = sorted(Path(FOLDER).glob('*.zip')) if FOLDER else []

@pytest.fixture(params=ARCHIVES or [None], ids=lambda p: p.name if p else 'none')
def images(request):
    if request.param is None: pytest.skip("GALAXY_SSL_EXAMPLES names no folder with archives of real images")
    from galaxy_ssl.data import get_survey
    return get_survey(request.param, size=128, labelled=False).images

def test_few_false_alarms(images):
    assert image_checks(images, progress=False)[list(FAULTS)].any(axis=1).mean()<.01

def test_injected_faults_are_found(images):
    x = np.array(images[:60])
    x[:20],x[20:40,96:] = 0,0
    checks = image_checks(x, progress=False)
    assert checks.blank[:20].all() and checks.cut_off[20:40].all()

def test_copies_are_found_and_nothing_else(images):
    x = np.array(images[:400])
    own = image_checks(x, progress=False)[list(FAULTS)].any(axis=1).to_numpy()
    copies = np.clip(np.roll(x, 1, axis=2)*1.1, 0, 255).astype(np.uint8)
    groups = find_duplicates(np.concatenate([x,copies]), progress=False).groups
    assert (groups[:400]==np.arange(400))[~own].all()
    assert (groups[400:]==np.arange(400))[~own].mean()>.98

def test_each_parameter_of_the_report_is_documented():
    doc = docments(quality_report, full=True)
    assert 'study_counts' in doc and all(o.docment for k,o in doc.items() if k!='return')
