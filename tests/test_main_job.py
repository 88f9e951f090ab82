"The main job as a user types it: papermill's command line, its exit status, and what it leaves behind"
import json, os, subprocess, sys
from pathlib import Path
import h5py, nbformat, numpy as np, pandas as pd, pytest
from galaxy_ssl.data import simulate_survey

NOTEBOOK = Path(__file__).parents[1]/'nbs'/'05_experiments.ipynb'

USER = {k:v for k,v in os.environ.items() if k!='PYTEST_CURRENT_TEST'}  # where ipykernel finds it, it leaves the terminal alone

def papermill(tmp, env=(), **params):
    "Run notebook 05 in folder `tmp`; the finished process and the notebook it wrote"
    args = [o for k,v in params.items() for o in ('-p',k,str(v))]
    r = subprocess.run([sys.executable,'-m','papermill',str(NOTEBOOK),'out.ipynb',*args], cwd=tmp, capture_output=True, text=True,
                       env={**USER,'GALAXY_SSL_DATA':str(tmp/'data'),'PYTHONWARNINGS':'ignore',**dict(env)})
    return r, nbformat.read(tmp/'out.ipynb', 4) if (tmp/'out.ipynb').exists() else None

def write_survey(path, n=200, **kw):
    s = simulate_survey('sim_sdss', n, size=16, **kw)
    with h5py.File(path,'w') as f:
        f['images'],f['ans'] = s.images,s.labels
        f.attrs['classes'] = s.classes
    return path

def html(nb): return '\n'.join(o['data'].get('text/html','') for c in nb.cells for o in c.get('outputs',[]) if 'data' in o)

def test_rows_table_and_notebook(tmp_path):
    write_survey(tmp_path/'mine.h5', seed=1)
    r,nb = papermill(tmp_path, survey='mine.h5', n='[3, 5]', methods='majority,random', size=16)
    assert r.returncode==0, r.stderr[-2000:]
    df = pd.read_csv(tmp_path/'results'/'results.csv')
    assert sorted(zip(df.n, df.method, df['mode']))==[(3,'majority','none'),(3,'random','linear'),(5,'majority','none'),(5,'random','linear')]
    assert (df.survey=='mine.h5').all() and (df.images_per_class.map(lambda o: set(json.loads(o).values()))==df.n.map(lambda n: {n})).all()
    assert np.allclose(df.macro_f1, [np.mean(list(json.loads(o).values())) for o in df.f1], atol=1e-5)
    assert 'random encoder' in html(nb) and 'majority class' in html(nb)
    assert 'random linear, 3 labels per class' in r.stderr+r.stdout          # progress reaches the terminal

@pytest.mark.parametrize('params,says', [
    (dict(survey='sim_desi'), 'sim_desi'), (dict(survey='sim_sdss',n=-3), 'got -3'), (dict(survey='sim_sdss',n='many'), "got 'many'"), (dict(survey='sim_sdss',n='none',class_map='no.json'), 'no file no.json'),
    (dict(preset='fast'), "quick, paper, best, got 'fast'")])
def test_bad_parameters_fail_in_one_sentence(tmp_path, params, says):
    r,nb = papermill(tmp_path, **params)
    assert r.returncode!=0
    last = [l for l in r.stderr.splitlines() if l.strip()][-1]
    assert says in last and 'Error' in last
    assert not (tmp_path/'results').exists()

def test_published_survey_out_of_reach(tmp_path):
    "Neither on disk nor to be had: says what, where from, how large, where to, and what works without it"
    dead = {k:'http://127.0.0.1:9' for k in ('https_proxy','HTTPS_PROXY','http_proxy','HTTP_PROXY')}
    r,_ = papermill(tmp_path, env=dead, survey='decals')
    assert r.returncode!=0
    for s in ('Galaxy10_DECals.h5','zenodo.org/records/10845026','2,735 MB',str(tmp_path/'data'),'sim_decals'): assert s in r.stderr, s
    assert [p for p in (tmp_path/'data').rglob('*') if p.is_file()]==[] if (tmp_path/'data').exists() else True

def test_two_processes_agree(tmp_path):
    "The same run in two processes gives the same row, but for its time"
    write_survey(tmp_path/'mine.h5', seed=2)
    code = ("import json; from galaxy_ssl.experiments import *; p = preset_with('quick', size=16, simclr=dict(images_seen=300), finetune=dict(epochs=2)); "
            "r = run_experiment('mine.h5', 3, 'simclr', 'finetune', seed=1, preset=p); "
            "print(json.dumps({k:v for k,v in r.items() if k not in ('seconds','pretrain_seconds','time')}))")
    out = [subprocess.run([sys.executable,'-W','ignore','-c',code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()[-1] for _ in range(2)]
    assert out[0]==out[1] and json.loads(out[0])['macro_f1']>=0
