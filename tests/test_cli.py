"The command line as a shell sees it: output, exit status, and errors in one line. A local server, no network, no real data."
import functools, hashlib, http.server, os, signal, subprocess, sys, threading, time, zipfile
from configparser import ConfigParser
from dataclasses import replace
from pathlib import Path
import cv2, numpy as np, pytest
import galaxy_ssl
from galaxy_ssl.study import cli
from galaxy_ssl.survey.catalogue import SURVEYS

ROOT = Path(__file__).resolve().parent.parent
BODY = bytes(i*i%251 for i in range(100_000))

class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
    def do_GET(self):
        self.server.seen.append(self.path)
        super().do_GET()

@pytest.fixture
def server(tmp_path, monkeypatch):
    "A local server that publishes a small 'sdss', which `SURVEYS` of this process knows"
    pub = tmp_path/'published'
    pub.mkdir()
    (pub/'Galaxy10.h5').write_bytes(BODY)
    srv = http.server.ThreadingHTTPServer(('127.0.0.1',0), functools.partial(Handler, directory=pub))
    srv.daemon_threads = True
    srv.seen,srv.url = [],f'http://127.0.0.1:{srv.server_port}'
    t = threading.Thread(target=srv.serve_forever, kwargs=dict(poll_interval=.01), daemon=True)
    t.start()
    monkeypatch.setitem(SURVEYS, 'sdss', replace(SURVEYS['sdss'], url=f'{srv.url}/Galaxy10.h5', mirrors=(), sha256=hashlib.sha256(BODY).hexdigest(), bytes=len(BODY)))
    yield srv
    srv.shutdown(); srv.server_close(); t.join()

@pytest.fixture
def env(tmp_path, monkeypatch):
    "A folder of its own for the files, and a network that ends at this machine"
    for o in ('HTTP_PROXY','HTTPS_PROXY','http_proxy','https_proxy'): monkeypatch.setenv(o, 'http://127.0.0.1:9')
    for o in ('NO_PROXY','no_proxy'): monkeypatch.setenv(o, '127.0.0.1')
    for o in ('ALL_PROXY','all_proxy','GALAXY_SSL_MIRRORS'): monkeypatch.delenv(o, raising=False)
    monkeypatch.setenv('GALAXY_SSL_DATA', str(tmp_path/'data'))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    return tmp_path/'data'

def shell(*args)->tuple:
    "Exit status, stdout and stderr of a command in a process of its own"
    r = subprocess.run([sys.executable,'-m','galaxy_ssl.study.cli',*map(str,args)], capture_output=True, text=True, timeout=60)
    return r.returncode,r.stdout,r.stderr

@pytest.fixture
def call(capsys, env):
    "The same in this process"
    def call(*args):
        try: status = cli.main([str(o) for o in args])
        except SystemExit as e: status = e.code
        return (status,*capsys.readouterr())
    return call

def one_line(err): return err.startswith('galaxy_ssl') and err.count('\n')==1 and err.endswith('\n') and 'Traceback' not in err

# ---------------------------------------------------------------- in a process of its own

def test_help_and_version(env):
    assert shell('--version')==(0, f'galaxy_ssl {galaxy_ssl.__version__}\n', '')
    status,out,err = shell()
    assert (status,err)==(0,'') and out.startswith('usage: galaxy_ssl')
    for o in ('list','download','verify','ingest','report'): assert o in out

def test_list_needs_no_torch(env):
    code = "import sys; from galaxy_ssl.study import cli; cli.main(['list']); assert not {'torch','fastai','cv2','h5py','numpy','pandas','matplotlib'}&set(sys.modules)"
    r = subprocess.run([sys.executable,'-c',code], capture_output=True, text=True)
    assert r.returncode==0, r.stderr
    assert [o.split()[0] for o in r.stdout.splitlines()[1:]]==[*SURVEYS,'in'] and str(env) in r.stdout

@pytest.mark.parametrize('args,match', [(['fetch'],"invalid choice: 'fetch'"), (['download'],'required: NAME'), (['download','hubble'],"'hubble', expected one of sdss, decals"),
    (['verify','sim_sdss'],"'sim_sdss', expected one of sdss, decals"), (['ingest','a.zip'],'required: dst'), (['ingest','a','b.h5','--size','x'],"at least 0, got 'x'"),
    (['list','--rot','x'],'unrecognized arguments')])
def test_wrong_usage(call, args, match):
    status,out,err = call(*args)
    assert (status,out)==(2,'') and match in err and one_line(err)

def test_wrong_file_is_refused(env, server, monkeypatch):
    monkeypatch.setenv('GALAXY_SSL_MIRRORS', f'{server.url}/') # that process knows the true sum
    status,out,err = shell('download','sdss')
    assert (status,out)==(1,'') and one_line(err) and server.seen==['/Galaxy10.h5']
    for o in (f'{server.url}/Galaxy10.h5 (the download has 100,000 bytes', 'zenodo.org', 'no connection through the proxy', '-p survey sim_decals'): assert o in err
    assert not list(env.glob('Galaxy10.h5')) and not list(env.glob('*.part'))

def test_verify_a_wrong_file(env):
    assert shell('verify')==(0, f'none of the published files is in {env}\n', '')
    env.mkdir()
    (env/'Galaxy10.h5').write_bytes(BODY)
    assert 'here, not verified' in shell('list')[1]
    for args in ([],['sdss']):
        status,out,err = shell('verify', *args)
        assert (status,out)==(1,'') and one_line(err) and 'is not the published Galaxy10.h5' in err

@pytest.mark.skipif(os.name=='nt', reason='sends SIGINT')
def test_ctrl_c(env, monkeypatch, tmp_path):
    started = threading.Event()
    class Slow(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args): pass
        def do_GET(self):
            self.send_response(200); self.send_header('Content-Length', str(10**6)); self.end_headers()
            self.wfile.write(b'0'*200_000); self.wfile.flush()
            started.set(); stop.wait(20)
    stop = threading.Event()
    srv = http.server.ThreadingHTTPServer(('127.0.0.1',0), Slow)
    srv.daemon_threads = True
    threading.Thread(target=srv.serve_forever, daemon=True).start()
    p = subprocess.Popen([sys.executable,'-m','galaxy_ssl.study.cli','download','sdss','--mirror',f'http://127.0.0.1:{srv.server_port}'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        assert started.wait(20)
        part = env/'Galaxy10.h5.part'
        t = time.time()
        while not (part.exists() and part.stat().st_size>=2**16) and time.time()-t<10: time.sleep(.01)
        p.send_signal(signal.SIGINT)
        out,err = p.communicate(timeout=20)
    finally: stop.set(); p.kill(); srv.shutdown(); srv.server_close()
    assert (p.returncode,out)==(130,'') and one_line(err) and 'the same command goes on from there' in err
    assert part.stat().st_size>=2**16

# ---------------------------------------------------------------- in this process

def test_download_list_verify(call, env, server):
    assert 'not here' in call('list')[1].splitlines()[1]
    assert call('download','sdss')==(0, f"sdss: {env/'Galaxy10.h5'}, verified\n", '')
    assert (env/'Galaxy10.h5').read_bytes()==BODY and len(server.seen)==1
    assert call('download','sdss')[0]==0 and len(server.seen)==1
    assert call('list')[1].splitlines()[1].endswith('here, verified')
    for args in ([],['sdss'],['--again']): assert call('verify', *args)==(0, f"sdss: {env/'Galaxy10.h5'}, verified\n", '')
    (env/'Galaxy10.h5').unlink()
    (env/'Galaxy10.h5.part').write_bytes(BODY[:35_000])
    assert call('list')[1].splitlines()[1].endswith('partial, 35 %')

def test_again_sees_what_the_note_hides(call, env, server):
    call('download','sdss')
    p = env/'Galaxy10.h5'
    st = p.stat()
    p.write_bytes(BODY[:-1]+b'?')
    os.utime(p, ns=(st.st_atime_ns, st.st_mtime_ns))
    assert call('verify')[0]==0 and call('verify','--again')[0]==1

def test_one_fails_the_others_do_not(call, env, server, monkeypatch, tmp_path):
    monkeypatch.setitem(SURVEYS, 'decals', replace(SURVEYS['decals'], url=f'{server.url}/none.h5', mirrors=(), bytes=10))
    status,out,err = call('download','decals','sdss','--root',tmp_path/'other')
    assert (status,out)==(1, f"sdss: {tmp_path/'other'/'Galaxy10.h5'}, verified\n") and one_line(err) and '404' in err

def test_mirror(call, env, server, monkeypatch):
    monkeypatch.setitem(SURVEYS, 'sdss', replace(SURVEYS['sdss'], url='http://127.0.0.1:9/Galaxy10.h5'))
    assert call('download','sdss','--mirror','http://127.0.0.1:9/','--mirror',server.url)[0]==0

def jpg(im): return cv2.imencode('.jpg', im)[1].tobytes()

@pytest.fixture
def archive(tmp_path):
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path/'a.zip','w') as z:
        for i in range(8): z.writestr(f'{i}.jpg', jpg(cv2.blur(rng.integers(0,256,(48,48,3),dtype=np.uint8),(9,9))))
        z.writestr('labels.csv', 'file,label\n'+''.join(f'{i}.jpg,{"ab"[i%2]}\n' for i in range(8)))
    return tmp_path/'a.zip'

def test_ingest(call, archive, tmp_path):
    dst = tmp_path/'b.h5'
    status,out,err = call('ingest',archive,dst,'--crop',32,'--size',16,'--out',tmp_path/'r.png')
    assert (status,err)==(0,'') and out.startswith(f'{dst}\nb: 8 images of 16×16 px') and (tmp_path/'r.png').exists()
    assert call('ingest',archive,dst,'--crop',32,'--size',16,'--no-check')==(0, f'{dst}\n', '')
    from galaxy_ssl.data import get_survey
    s = get_survey(dst)
    assert s.images.shape==(8,16,16,3) and s.classes==['a','b']

def test_ingest_faults(call, archive, tmp_path):
    for args,match in (((tmp_path/'none.zip',tmp_path/'c.h5'),'none.zip'), ((archive,tmp_path/'c.h5'),'`crop`=256')):
        status,out,err = call('ingest', *args)
        assert (status,out)==(1,'') and one_line(err) and match in err
    assert not (tmp_path/'c.h5').exists()

def test_ingest_hands_on_what_was_given(call, monkeypatch):
    from galaxy_ssl import data
    from galaxy_ssl.data import ingest
    seen = []
    monkeypatch.setattr(data, 'ingest', lambda *args, **kw: seen.append((args,kw)))
    call('ingest','a','b.h5','--no-check')
    call('ingest','a','b.h5','--no-check','--workers',3,'--labels','folders','--size',64,'--crop',0,'--sample',9,'--seed',2,'--threshold',.8,'--bands','2,1,0','--max-bad',.5)
    call('ingest','a','b.h5','--no-check','--bands','VIS,NIR_Y,NIR_H','--label-column','kind','--file-column','picture','--images','x','--pattern','*.fits','--value-range=-1,1')
    always = lambda **kw: dict(dict(sample=None, seed=0, check=False, max_bad=.01), **kw) # and else what was said
    assert seen==[(('a','b.h5',256,128), always()),
                  (('a','b.h5',None,64), always(sample=9, seed=2, labels='folders', threshold=.8, bands=(2,1,0), workers=3, max_bad=.5)),
                  (('a','b.h5',256,128), always(bands='VIS,NIR_Y,NIR_H', label_column='kind', file_column='picture', images='x', pattern='*.fits', value_range=(-1.,1.)))]
    import inspect
    known = list(inspect.signature(ingest).parameters)
    assert known[2:4]==['crop','size'] and {k for _,kw in seen for k in kw}<=set(known) # the names under which they are handed on

def test_report_hands_on_what_was_given(call, monkeypatch):
    from galaxy_ssl import data
    seen = []
    monkeypatch.setattr(data, 'get_survey', lambda *args, **kw: seen.append((args,kw)))
    call('report','a','--labels','t.fits','--images','x','--max-bad',.2)
    assert seen==[(('a',), dict(labelled=None, labels='t.fits', images='x', max_bad=.2))]

def test_report(call, archive, tmp_path):
    status,out,err = call('report',archive,'--out',tmp_path/'r.png','--csv',tmp_path/'r.csv')
    assert (status,err)==(0,'') and out.strip()
    assert cv2.imread(str(tmp_path/'r.png')) is not None and (tmp_path/'r.csv').exists()

def test_unexpected_errors_need_one_line_too(call, monkeypatch):
    def f(*args): raise RuntimeError('two\nlines')
    monkeypatch.setattr(cli, 'survey_state', f)
    assert call('list')==(1, '', 'galaxy_ssl: RuntimeError: two lines\n')

# ---------------------------------------------------------------- installed

def test_setup_installs_the_command():
    p = ConfigParser(delimiters=['='], interpolation=None)
    p.read(ROOT/'settings.ini', encoding='utf-8')
    name,target = p['DEFAULT']['console_scripts'].split('=')
    mod,f = target.split(':')
    assert name=='galaxy_ssl' and getattr(sys.modules[mod], f) is cli.main
    assert "'console_scripts'" in (ROOT/'setup.py').read_text()
