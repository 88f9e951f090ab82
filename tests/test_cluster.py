"Catalogs of shards: the same rows as for one file, workers that are killed, runs that are stopped, parts of another model. No network, no real data."
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pandas as pd, pytest, torch
pytest.importorskip('distributed'), pytest.importorskip('pyarrow')
import distributed, psutil
from galaxy_ssl.base.encoders import create_encoder
from galaxy_ssl.base.hub import get_encoder
from galaxy_ssl.catalog import cluster
from galaxy_ssl.catalog.cluster import embed_shards, keep_model, make_part, read_model
from galaxy_ssl.catalog.stream import ImageStream
from galaxy_ssl.catalog.tables import embed_catalog, model_digest
from galaxy_ssl.data import simulate_survey
from galaxy_ssl.study import cli
from galaxy_ssl.survey.shards import write_shards
from galaxy_ssl.survey.survey import Survey

ROOT = Path(__file__).resolve().parent.parent
ENV = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT),*filter(None,[os.environ.get('PYTHONPATH')])]), OMP_NUM_THREADS='1', PYTHONWARNINGS='ignore')
N,PER = 480,60
CALL = [sys.executable,'-c','import sys; from galaxy_ssl.study.cli import main; sys.exit(main(sys.argv[1:]))']

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "Eight shards of 60 galaxies each, and what one process writes for them"
    at,sim = tmp_path_factory.mktemp('made'),simulate_survey('sim_decals', 100, size=64, seed=0)
    x = np.resize(sim.images, (N,64,64,3))
    x[:,0,0,:2] = np.stack([np.arange(N)%200, np.arange(N)//200], 1)             # no two alike
    t = pd.DataFrame(dict(objid=1237648720693755918+np.arange(N), ra=np.arange(N)/7, dec=np.arange(N)/99-9, id2=pd.array([None if i==300 else 2**60+i for i in range(N)], 'Int64')))
    s = Survey(x, np.full(N,-1), [], 'sky', ids=[f'{i:04}.jpg' for i in range(N)], table=t)
    write_shards(s, at/'shards', per_shard=PER)
    with cluster.one_thread(): embed_catalog('simulated', ImageStream(s), at/'one.parquet')
    return at

def same(out, one):
    "The rows of a folder of parts are those of one file, to the last bit"
    a,b = pd.read_parquet(one),pd.read_parquet(out)
    assert list(a)==list(b) and a.drop(columns='embedding').equals(b.drop(columns='embedding'))
    assert np.array_equal(np.stack(a.embedding), np.stack(b.embedding))
    assert sorted(o.name for o in Path(out).iterdir())==[f'part-{k:05}.parquet' for k in range(N//PER)]    # and nothing else
    assert not list(Path(out).parent.glob(f'{Path(out).name}.parts'))
    about = json.loads(Path(f'{out}.json').read_text())
    assert (about['images'],about['usable'],about['shards'])==(N,N,N//PER)
    return about

def start(at, out): return subprocess.Popen([*CALL,'embed','simulated',str(at/'shards'),str(out),'--processes','2'], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def wait_for(p, parts, n):
    "Until `n` parts are there and others are under way"
    t = time.time()
    while (len(list(parts.glob('part-*.parquet')))<n or not list(parts.glob('.part-*'))) and time.time()-t<120 and p.poll() is None: time.sleep(.02)
    assert p.poll() is None, p.communicate()

def workers(p): return [o for o in psutil.Process(p.pid).children(recursive=True) if 'spawn_main' in ' '.join(o.cmdline())]

# ---------------------------------------------------------------- the same, whoever is killed

@pytest.mark.skipif(os.name=='nt', reason='sends SIGKILL')
def test_a_worker_is_killed(made, tmp_path):
    p = start(made, tmp_path/'out')
    wait_for(p, tmp_path/'out.parts', 1)
    workers(p)[0].kill()
    out,err = p.communicate(timeout=120)
    assert p.returncode==0, err
    same(tmp_path/'out', made/'one.parquet')

@pytest.mark.skipif(os.name=='nt', reason='sends SIGKILL')
def test_the_run_is_killed_and_goes_on(made, tmp_path):
    p,parts = start(made, tmp_path/'out'),tmp_path/'out.parts'
    wait_for(p, parts, 3)
    own = workers(p)
    p.send_signal(signal.SIGKILL)
    p.communicate()
    assert not psutil.wait_procs(own, timeout=20)[1]             # no worker stays behind
    assert not (tmp_path/'out').exists()                         # nothing half written under its name
    done = {o.name:o.stat().st_mtime_ns for o in parts.glob('part-*.parquet')}
    torn = parts/sorted(done)[-1]
    torn.write_bytes(torn.read_bytes()[:-50])                    # a part that was half written is made anew
    embed_shards(made/'shards', 'simulated', tmp_path/'out', workers=1)
    about = same(tmp_path/'out', made/'one.parquet')
    assert about['went_on_at']==PER*(len(done)-1)
    assert all((tmp_path/'out'/k).stat().st_mtime_ns==v for k,v in done.items() if k!=torn.name)

def test_a_cluster_by_its_address(made, tmp_path):
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as c:
        embed_shards(made/'shards', 'simulated', tmp_path/'out', address=c.scheduler_address)
    same(tmp_path/'out', made/'one.parquet')

def dies(job):
    import os
    if job['k']==1: os._exit(9)
    return dict(k=job['k'], images=60)
dies.__module__ = '__main__' # sent by value

def test_a_shard_that_ends_its_workers(monkeypatch):
    monkeypatch.setattr(cluster, '_on_worker', dies)
    with pytest.raises(RuntimeError, match=r'shard 1 \(from 0\) ended each worker that took it'): list(cluster._each_part([dict(k=k) for k in range(3)], 2))

# ---------------------------------------------------------------- what is kept, and what is not

@pytest.fixture
def small(made, tmp_path):
    "Two shards, and a run that was stopped after the first"
    sim = simulate_survey('sim_decals', 40, size=32, seed=1)
    write_shards(Survey(sim.images, np.full(40,-1), [], 'small'), tmp_path/'two', per_shard=20)
    torch.manual_seed(0)
    one,other = (create_encoder('resnet18').eval() for _ in range(2))
    embed_shards(tmp_path/'two', one, tmp_path/'whole', workers=1, size=32)
    def stop(job):
        if job['k']: raise KeyboardInterrupt
        return make_part(job)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(cluster, 'make_part', stop)
        with pytest.raises(KeyboardInterrupt): embed_shards(tmp_path/'two', one, tmp_path/'out', workers=1, size=32)
    return tmp_path,one,other

def test_parts_of_another_model_are_not_kept(small):
    at,one,other = small
    again = lambda model, **kw: embed_shards(at/'two', model, at/'out', workers=1, **dict(size=32)|kw)
    with pytest.raises(ValueError, match=r'with other settings \(encoder\)'): again(other)
    with pytest.raises(ValueError, match=r'with other settings \(size\)'): again(one, size=16)
    again(other, overwrite=True)                                 # begins anew
    assert json.loads((at/'out.json').read_text())['went_on_at'] is None
    fresh = embed_shards(at/'two', other, at/'fresh', workers=1, size=32)
    for k in range(2): assert (at/'out'/f'part-{k:05}.parquet').read_bytes()==(fresh/f'part-{k:05}.parquet').read_bytes()
    with pytest.raises(FileExistsError, match='exists and is kept'): again(other)
    again(one, overwrite=True)                                   # replaces what is there
    for k in range(2): assert (at/'out'/f'part-{k:05}.parquet').read_bytes()==(at/'whole'/f'part-{k:05}.parquet').read_bytes()
    (at/'out'/'mine.txt').write_text('')
    with pytest.raises(ValueError, match='holds mine.txt, which is no part of a catalog'): again(one, overwrite=True)

def test_shards_that_changed(small):
    at,one,_ = small
    sim = simulate_survey('sim_decals', 40, size=32, seed=2)
    shutil.rmtree(at/'two')
    write_shards(Survey(sim.images, np.full(40,-1), [], 'small'), at/'two', per_shard=20)
    with pytest.raises(ValueError, match=r'with other settings \(source\)'): embed_shards(at/'two', one, at/'out', workers=1, size=32)

def test_the_model_is_the_one_that_was_given(tmp_path):
    for k,model in enumerate((get_encoder('simulated'), get_encoder('timm:resnet18', pretrained=False), get_encoder('timm:resnet18', size=32, pretrained=False))):
        assert read_model(**keep_model(model, tmp_path/str(k))).digest==model_digest(model)

# ---------------------------------------------------------------- said in one line

@pytest.mark.parametrize('more,said', [(('--ids','x.txt'),'--ids is for one folder or file'), (('--bs','8'),'--bs is for one folder or file'), (('--workers','2'),'--workers is for one folder or file'),
                                       (('--cluster','tcp://127.0.0.1:1'),"no Dask scheduler answers at 'tcp://127.0.0.1:1'")])
def test_wrong_calls(made, tmp_path, capsys, more, said):
    assert cli.main(['embed','simulated',str(made/'shards'),str(tmp_path/'out'),*more])
    assert said in capsys.readouterr().err
    assert not (tmp_path/'out').exists()
