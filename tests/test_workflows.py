"What GitHub runs and shows: actions are pinned, permissions and times are bounded, versions agree. No network."
import re, runpy, subprocess
from unittest import mock
import pytest, yaml
from house import ROOT, settings

GITHUB = ROOT/'.github'
WORKFLOWS = sorted((GITHUB/'workflows').glob('*.yml'))
workflows = pytest.mark.parametrize('path', WORKFLOWS, ids=lambda o:o.stem)

def read(path): return yaml.safe_load(path.read_text(encoding='utf-8'))
def jobs(path): return read(path)['jobs'].items()
def steps(path): return [(k,s) for k,j in jobs(path) for s in j.get('steps',())]

def test_there_are_three(): assert [o.stem for o in WORKFLOWS]==['docs','release','test']

# ---------------------------------------------------------------- what they may do

@workflows
def test_actions_are_pinned(path):
    "To a commit with its version beside it, or to an exact version; a workflow of this repository is what it is"
    for line in re.findall(r'^\s*(?:- )?uses: *(.+)$', path.read_text(encoding='utf-8'), re.M):
        assert re.fullmatch(r'[\w.-]+(/[\w.-]+)+@([0-9a-f]{40} # v\d+\.\d+\.\d+|v?\d+\.\d+\.\d+)|\./\.github/workflows/\w+\.yml', line), line

def test_one_pin_for_each_action():
    pins = {o.rpartition('@') for p in WORKFLOWS for _,s in steps(p) if (o:=s.get('uses'))}
    assert len(pins)==len({o[0] for o in pins})

@workflows
def test_every_job_ends(path):
    for name,job in jobs(path): assert 'uses' in job or 0<job['timeout-minutes']<=90, name

@workflows
def test_permissions_are_stated_and_small(path):
    assert read(path)['permissions']=={'contents':'read'}
    more = {k:j['permissions'] for k,j in jobs(path) if j.get('permissions',{})!={} and j['permissions']!={'contents':'read'}}
    assert more=={'docs':dict(deploy={'pages':'write','id-token':'write'}), 'release':dict(publish={'id-token':'write'}, github={'contents':'write'}), 'test':{}}[path.stem]

@workflows
def test_one_at_a_time_and_no_credentials_left(path):
    assert 'group' in read(path)['concurrency']
    for _,s in steps(path):
        if s.get('uses','').startswith('actions/checkout@'): assert s['with']['persist-credentials'] is False

@workflows
def test_nothing_from_outside_reaches_a_shell(path):
    for _,s in steps(path): assert '${{' not in s.get('run',''), s['run']

@workflows
def test_files_that_are_named_exist(path):
    for _,s in steps(path):
        for o in re.findall(r'\b(?:tests/)?\w+\.(?:py|txt|ini|md)\b', s.get('run','')): assert (ROOT/o).exists() or o=='notes.md', o

# ---------------------------------------------------------------- versions

def classifiers():
    pytest.importorskip('setuptools')
    with mock.patch('setuptools.setup') as f: runpy.run_path(str(ROOT/'setup.py'))
    return f.call_args.kwargs['classifiers']

def test_pythons_agree():
    s,ms = settings(),dict(jobs(GITHUB/'workflows'/'test.yml'))
    pythons = ms['test']['strategy']['matrix']['python']
    assert pythons==[o.rpartition(' ')[2] for o in classifiers() if re.search(r'Python :: 3\.\d+$', o)]
    assert pythons[0]==s['min_python']
    for p in WORKFLOWS:
        for _,st in steps(p):
            if st.get('uses','').startswith('actions/setup-python@'): assert st['with']['python-version'] in (*pythons,'${{ matrix.python }}')

def test_both_systems_both_sets_of_versions():
    m = dict(jobs(GITHUB/'workflows'/'test.yml'))['test']['strategy']['matrix']
    tested = re.search(r'on Python (\S+):', (ROOT/'constraints.txt').read_text()).group(1)
    assert m['versions']==['newest'] and m['os']==['ubuntu-latest','macos-latest']
    assert m['include']==[dict(os=o, python=tested, versions='tested') for o in m['os']]

def test_dependabot_knows_the_upper_bounds():
    updates = {o['package-ecosystem']:o for o in read(GITHUB/'dependabot.yml')['updates']}
    assert set(updates)=={'github-actions','pip'} and all(o['schedule']['interval']=='monthly' and o['groups'] for o in updates.values())
    bounds = {re.split('[<>=]', o)[0]:o.rpartition('<')[2] for o in settings()['dev_requirements'].split() if '<' in o}
    assert {o['dependency-name']:o['versions'] for o in updates['pip']['ignore']}=={k:[f'>={v}'] for k,v in bounds.items()}

def test_citation_agrees_with_settings():
    c,s = read(ROOT/'CITATION.cff'),settings()
    assert (c['cff-version'],str(c['version']),c['title']) == ('1.2.0',s['version'],s['title'])
    assert (c['repository-code'],c['url'],c['license']) == (s['git_url'],s['doc_host']+s['doc_baseurl'],'Apache-2.0')
    assert c['authors']==[dict(name=s['author'])]

def test_changelog_has_a_section_for_the_version():
    heads = re.findall(r'^## \[?(\d+\.\d+\.\d+)\]? - (unreleased|\d{4}-\d\d-\d\d)$', (ROOT/'CHANGELOG.md').read_text(encoding='utf-8'), re.M)
    assert heads[0][0]==settings()['version'] and len({v for v,_ in heads})==len(heads)

def test_conduct_names_the_address(): assert settings()['author_email'] in (ROOT/'CODE_OF_CONDUCT.md').read_text(encoding='utf-8')

# ---------------------------------------------------------------- a release

def guard(tmp, tag, head='## 0.1.0 - 2030-01-02', body='\n- something new\n\n## 0.0.9 - 2029-01-02\n\n- something old\n'):
    "The step that refuses a wrong tag, as the workflow runs it"
    script, = [s['run'] for _,s in steps(GITHUB/'workflows'/'release.yml') if 'settings.ini' in s.get('name','')]
    (tmp/'settings.ini').write_text('[DEFAULT]\nmin_python = 3.10\nversion = 0.1.0\nput_version_in_init = True\n')
    (tmp/'CHANGELOG.md').write_text(f'# Changelog\n\n{head}\n{body}')
    r = subprocess.run(['bash','-eo','pipefail','-c',script], cwd=tmp, env=dict(GITHUB_REF_NAME=tag, PATH='/usr/bin:/bin'), capture_output=True, text=True)
    return r.returncode,r.stdout+r.stderr

def test_release_takes_the_notes(tmp_path):
    assert guard(tmp_path, 'v0.1.0')==(0,'')
    assert (tmp_path/'notes'/'notes.md').read_text().strip()=='- something new'

@pytest.mark.parametrize('tag,kw,says', [('v0.2.0',{},'the tag is v0.2.0, but settings.ini says 0.1.0'), ('0.1.0',{},'the tag is 0.1.0'), ('v0.1.0',dict(head='## 0.1.0 - unreleased'),'has no line'),
                                         ('v0.1.0',dict(head='## 0.1.01 - 2030-01-02'),'has no line'), ('v0.1.0',dict(body='\n## 0.0.9 - 2029-01-02\n- old\n'),'is empty')])
def test_release_refuses(tmp_path, tag, kw, says):
    status,out = guard(tmp_path, tag, **kw)
    assert status==1 and says in out

def test_release_needs_the_tests_and_publishes_without_a_password():
    j = dict(jobs(GITHUB/'workflows'/'release.yml'))
    assert j['test']['uses']=='./.github/workflows/test.yml' and 'workflow_call' in read(GITHUB/'workflows'/'test.yml')[True]  # YAML 1.1 reads `on` as true
    assert set(j['publish']['needs'])=={'test','build'} and j['publish']['environment']['name']=='pypi' and j['github']['needs']=='publish'
    assert 'password' not in (GITHUB/'workflows'/'release.yml').read_text().replace('no password','')

def test_forms_ask_what_is_needed():
    for o in ('bug_report','feature_request'):
        f = read(GITHUB/'ISSUE_TEMPLATE'/f'{o}.yml')
        assert {'name','description','body'}<=set(f) and any(b.get('validations',{}).get('required') for b in f['body'])
        ids = [b['id'] for b in f['body']]
        assert len(ids)==len(set(ids))
    assert read(GITHUB/'ISSUE_TEMPLATE'/'config.yml')['contact_links'][0]['url']==settings()['doc_host']+settings()['doc_baseurl']
