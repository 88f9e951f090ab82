"Downloads: what servers, networks, disks and other programs do to them. A local server, no network, no real data."
import errno, hashlib, http.server, os, re, shutil, signal, subprocess, sys, textwrap, threading, time
from dataclasses import replace
from pathlib import Path
import filelock, pytest, requests
from galaxy_ssl.survey import download
from galaxy_ssl.survey.catalogue import SURVEYS
from galaxy_ssl.survey.download import *

BODY = bytes((i*i+i//251)%256 for i in range(400_000))
OTHER = BODY[:1000]+b'?'+BODY[1001:]
SHA = hashlib.sha256(BODY).hexdigest()
FAST = dict(timeout=(2,.5), retries=3, pause=.01)
REST = len(BODY)//2

class Handler(http.server.BaseHTTPRequestHandler):
    "Each address is a way to behave: /MODE/Galaxy10.h5"
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass
    def do_GET(self):
        srv,mode = self.server,self.path.split('/')[-2]
        rng = self.headers.get('Range')
        with srv.lock:
            nth = sum(o['mode']==mode for o in srv.seen)
            self.log = dict(mode=mode, path=self.path, range=rng, sent=0)
            srv.seen.append(self.log)
        self.close_connection = True
        getattr(self, f'do_{mode}')(int(re.match(r'bytes=(\d+)-$', rng)[1]) if rng else None, nth)
    def head(self, code, length, **headers):
        self.send_response(code)
        self.send_header('Connection', 'close')
        if length is not None: self.send_header('Content-Length', str(length))
        for k,v in headers.items(): self.send_header(k.replace('_','-'), v)
        self.end_headers()
    def send(self, data):
        self.wfile.write(data); self.wfile.flush()
        self.log['sent'] += len(data)
    def serve(self, n, body=BODY, cut=None, length=0, **headers):
        "The body from `n` on, of which only `cut` bytes are sent; `length` is added to what is promised"
        if n is not None and n>=len(body): return self.head(416, 0, Content_Range=f'bytes */{len(body)}')
        rest = body[n or 0:]
        if n is not None: headers['Content_Range'] = f'bytes {n}-{len(body)-1}/{len(body)}'
        self.head(200 if n is None else 206, len(rest)+length, **headers)
        self.send(rest[:cut])
    def do_fine(self, n, nth): self.serve(n)
    def do_breaks_once(self, n, nth): self.serve(n, cut=REST if nth==0 else None)
    def do_breaks_always(self, n, nth): self.serve(n, cut=(len(BODY)-(n or 0))//2)
    def do_tenths(self, n, nth): self.serve(n, cut=len(BODY)//5)
    def do_stalls(self, n, nth):
        self.serve(n, cut=REST if nth==0 else None)
        if nth==0: self.server.stop.wait(5)
    def do_never(self, n, nth): self.server.stop.wait(5)
    def do_too_long(self, n, nth): self.serve(n, length=1000)
    def do_too_short(self, n, nth): self.serve(n, length=-1000)
    def do_no_length(self, n, nth): self.head(200, None); self.send(BODY)
    def do_wrong(self, n, nth): self.serve(n, body=OTHER)
    def do_wrong_breaks(self, n, nth): self.serve(n, body=OTHER, cut=REST if nth%2==0 else None)
    def do_page(self, n, nth): self.head(200, 22); self.send(b'<html>Try later</html>')
    def do_gone(self, n, nth): self.head(404, 0)
    def do_busy(self, n, nth): self.serve(n) if nth==2 else self.head(503, 0)
    def do_busy_always(self, n, nth): self.head(503, 0)
    def do_wait(self, n, nth): self.serve(n) if nth else self.head(429, 0, Retry_After='1')
    def do_wait_long(self, n, nth): self.head(429, 0, Retry_After='7200')
    def do_no_ranges(self, n, nth): self.serve(None, cut=REST if nth==0 else None)
    def do_other_range(self, n, nth):
        if n is None: return self.serve(n, cut=REST)
        self.head(206, 10, Content_Range=f'bytes 5-14/{len(BODY)}'); self.send(BODY[5:15])
    def do_changed(self, n, nth): # the file is replaced after the first request
        self.serve(n, body=OTHER if nth==0 else BODY, cut=REST if nth==0 else None)
    def do_circle(self, n, nth): self.head(302, 0, Location=self.path)
    def do_slow(self, n, nth):
        n,size = n or 0,len(BODY)
        self.head(206 if n else 200, size-n, **(dict(Content_Range=f'bytes {n}-{size-1}/{size}') if n else {}))
        try:
            for i in range(n, size, size//30): self.send(BODY[i:min(i+size//30,size)]); time.sleep(self.server.pace)
        except OSError: pass # the client was killed

@pytest.fixture
def server():
    srv = http.server.ThreadingHTTPServer(('127.0.0.1',0), Handler)
    srv.daemon_threads = True
    srv.seen,srv.lock,srv.stop,srv.pace,srv.url = [],threading.Lock(),threading.Event(),.1,f'http://127.0.0.1:{srv.server_port}'
    t = threading.Thread(target=srv.serve_forever, kwargs=dict(poll_interval=.01), daemon=True)
    t.start()
    yield srv
    srv.stop.set(); srv.shutdown(); srv.server_close(); t.join()

@pytest.fixture
def get(server, tmp_path, monkeypatch):
    "`get(mode, ...)` downloads from the server, which behaves as the modes say, one address after the other"
    for o in ('NO_PROXY','no_proxy'): monkeypatch.setenv(o, '127.0.0.1')
    for o in ('HTTP_PROXY','HTTPS_PROXY','ALL_PROXY','http_proxy','https_proxy','all_proxy','GALAXY_SSL_MIRRORS','GALAXY_SSL_DATA'): monkeypatch.delenv(o, raising=False)
    def get(*modes, mirrors=None, root=tmp_path/'root', sha256=SHA, size=len(BODY), **kw):
        urls = [f'{server.url}/{o}/Galaxy10.h5' for o in modes]
        monkeypatch.setitem(SURVEYS, 'sdss', replace(SURVEYS['sdss'], url=urls[0], mirrors=tuple(urls[1:]), sha256=sha256, bytes=size))
        return download_survey('sdss', root, mirrors, **{**FAST, **kw})
    return get

def names(folder): return sorted(o.name for o in folder.iterdir())
def modes(server): return [o['mode'] for o in server.seen]
DONE = ['Galaxy10.h5','Galaxy10.h5.sha256']

def fails(get, *args, **kw)->str:
    "The message of a download that fails, which is one sentence and says all there is to say"
    with pytest.raises(SurveyNotFound) as e: get(*args, **kw)
    msg = str(e.value)
    assert isinstance(e.value, FileNotFoundError) and '\n' not in msg and '. ' not in msg
    for o in ('Galaxy10.h5', 'MB', SURVEYS['sdss'].url, 'GALAXY_SSL_DATA', '-p survey sim_decals'): assert o in msg
    return msg

# ---------------------------------------------------------------- servers

def test_fine(server, get, tmp_path):
    p = get('fine')
    assert p==tmp_path/'root'/'Galaxy10.h5' and p.read_bytes()==BODY and names(p.parent)==DONE
    assert get('fine')==p and len(server.seen)==1 # the second time it was there
    assert survey_state('sdss', p.parent)=='here, verified'

def test_folder_from_environment(server, get, tmp_path, monkeypatch):
    monkeypatch.setenv('GALAXY_SSL_DATA', str(tmp_path/'env'))
    assert get('fine', root=None)==tmp_path/'env'/'Galaxy10.h5'

@pytest.mark.parametrize('mode', ['breaks_once','stalls'])
def test_goes_on_where_it_broke(server, get, mode):
    assert get(mode).read_bytes()==BODY
    first,second = server.seen
    n = int(second['range'][6:-1])
    assert first['range'] is None and REST-2**16<n<=REST
    assert second['sent']==len(BODY)-n # the rest, no more

def test_goes_on_as_long_as_something_comes(server, get):
    assert get('tenths', retries=0).read_bytes()==BODY
    assert 5<=len(server.seen)<=7

def test_breaks_always(server, get, tmp_path):
    assert 'the connection broke off' in fails(get, 'breaks_always')
    assert 2<=len(server.seen)<30
    part = tmp_path/'root'/'Galaxy10.h5.part'
    assert part.read_bytes()==BODY[:part.stat().st_size] and part.stat().st_size>REST
    assert names(part.parent)==['Galaxy10.h5.part'] # never taken for the file
    with pytest.raises(SurveyNotFound, match='galaxy_ssl download sdss'): verify_survey('sdss', tmp_path/'root')
    n = part.stat().st_size
    assert get('fine').read_bytes()==BODY and server.seen[-1]['range']==f'bytes={n}-'

def test_no_answer(server, get):
    t = time.time()
    assert 'did not answer in time' in fails(get, 'never', timeout=(2,.2))
    assert time.time()-t<3

def test_no_length(server, get): assert get('no_length').read_bytes()==BODY

def test_too_long_is_a_broken_connection(server, get, tmp_path):
    assert 'the connection broke off' in fails(get, 'too_long')
    assert get('too_long','fine').read_bytes()==BODY and server.seen[-1]['range']

def test_too_short_is_wrong(server, get, tmp_path):
    msg = fails(get, 'too_short')
    assert f'{len(BODY)-1000:,} bytes' in msg and names(tmp_path/'root')==[]
    assert get('too_short','fine').read_bytes()==BODY

@pytest.mark.parametrize('size', [1, 10**6])
def test_size_of_the_facts_does_not_decide(get, size): assert get('fine', size=size).read_bytes()==BODY

@pytest.mark.parametrize('mode,reason', [('wrong',f'{len(BODY):,} bytes and the SHA-256 {hashlib.sha256(OTHER).hexdigest()}'), ('page','22 bytes'),
    ('gone','the server answered 404 Not Found'), ('wrong_breaks',SHA), ('circle','redirects in circles')])
def test_wrong_file_leaves_nothing(server, get, tmp_path, mode, reason):
    assert reason in fails(get, mode)
    assert names(tmp_path/'root')==[] and len(server.seen)<40

def test_offline(get, monkeypatch):
    monkeypatch.setattr(download, '_addresses', lambda *args: [SURVEYS['sdss'].url, 'http://127.0.0.1:9/Galaxy10.h5', 'ftp://127.0.0.1/Galaxy10.h5'])
    msg = fails(get, 'gone')
    assert 'http://127.0.0.1:9/Galaxy10.h5 (no connection to the server)' in msg and '(this is not an http(s) address)' in msg

# ---------------------------------------------------------------- busy servers

def test_busy_then_fine(server, get): assert get('busy').read_bytes()==BODY and modes(server)==['busy']*3

def test_busy_always(server, get):
    assert '503 Service Unavailable' in fails(get, 'busy_always')
    assert len(server.seen)==4 # one and three retries

def test_waits_as_long_as_asked(server, get):
    t = time.time()
    assert get('wait').read_bytes()==BODY and time.time()-t>=1

def test_does_not_wait_for_hours(server, get, tmp_path):
    t = time.time()
    assert get('wait_long','fine').read_bytes()==BODY and modes(server)==['wait_long','fine'] and time.time()-t<3
    assert 'asks to come back in 7,200 s' in fails(get, 'wait_long', root=tmp_path/'second')

# ---------------------------------------------------------------- ranges

def test_server_without_ranges_starts_over(server, get):
    assert get('no_ranges').read_bytes()==BODY
    assert server.seen[1]['range'] and server.seen[1]['sent']==len(BODY)

def test_other_bytes_are_refused(server, get, tmp_path):
    assert "bytes 5-14/400000" in fails(get, 'other_range')
    part = tmp_path/'root'/'Galaxy10.h5.part'
    assert part.read_bytes()==BODY[:part.stat().st_size] # nothing of it was written
    assert get('other_range','fine').read_bytes()==BODY and server.seen[-1]['range']

def test_changed_file_starts_over(server, get, tmp_path):
    assert get('changed').read_bytes()==BODY          # its sum tells that halves of two files came
    first,second,third = [o['range'] for o in server.seen]
    assert first is third is None and second and names(tmp_path/'root')==DONE

def test_part_of_an_earlier_run_is_wrong(server, get, tmp_path):
    (tmp_path/'root').mkdir()
    (tmp_path/'root'/'Galaxy10.h5.part').write_bytes(OTHER[:REST])
    assert get('fine').read_bytes()==BODY
    assert [o['range'] for o in server.seen]==[f'bytes={REST}-', None]

def test_part_is_too_long(server, get, tmp_path):
    (tmp_path/'root').mkdir()
    (tmp_path/'root'/'Galaxy10.h5.part').write_bytes(BODY+b'!')
    assert get('fine').read_bytes()==BODY and len(server.seen)==2 # 416, then the whole file

def test_part_is_whole(server, get, tmp_path): # killed between the last byte and the new name
    (tmp_path/'root').mkdir()
    (tmp_path/'root'/'Galaxy10.h5.part').write_bytes(BODY)
    assert get('fine').read_bytes()==BODY and not server.seen and names(tmp_path/'root')==DONE

# ---------------------------------------------------------------- addresses

def test_mirrors_in_turn(server, get, monkeypatch):
    monkeypatch.setenv('GALAXY_SSL_MIRRORS', f'{server.url}/page/ {server.url}/fine/Galaxy10_DECals.h5 {server.url}/busy_always/Galaxy10.h5')
    assert get('wrong','breaks_always','fine', mirrors=f'{server.url}/gone/').read_bytes()==BODY
    m = modes(server)
    assert list(dict.fromkeys(m))==['gone','page','busy_always','wrong','breaks_always','fine']
    assert server.seen[-1]['range'] # the last went on with what the one before had sent

def test_each_address_has_its_reason(server, get):
    msg = fails(get, 'gone','busy_always','page', retries=0)
    for o in ('/gone/Galaxy10.h5 (the server answered 404 Not Found) nor', '/busy_always/Galaxy10.h5 (the server answered 503', '/page/Galaxy10.h5 (the download has 22 bytes'): assert o in msg

def test_given_mirrors_come_first(server, get):
    assert get('gone', mirrors=[f'{server.url}/fine/Galaxy10.h5?token=1']).read_bytes()==BODY and server.seen[0]['path'].endswith('?token=1')

def test_proxy(server, get, monkeypatch, tmp_path):
    monkeypatch.setenv('HTTP_PROXY', server.url); monkeypatch.delenv('NO_PROXY'); monkeypatch.delenv('no_proxy')
    monkeypatch.setattr(download, '_addresses', lambda *args: ['http://galaxies.invalid/fine/Galaxy10.h5'])
    assert get('gone').read_bytes()==BODY and server.seen[0]['path']=='http://galaxies.invalid/fine/Galaxy10.h5'
    monkeypatch.setenv('HTTP_PROXY', 'http://127.0.0.1:9')
    with pytest.raises(SurveyNotFound, match='no connection through the proxy'): get('gone', root=tmp_path/'second')

# ---------------------------------------------------------------- this machine

def test_interrupted_keeps_the_part(server, get, tmp_path, monkeypatch):
    def interrupt(self, *args):
        yield BODY[:1000]
        raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(requests.Response, 'iter_content', interrupt)
        with pytest.raises(KeyboardInterrupt): get('fine')
    assert (tmp_path/'root'/'Galaxy10.h5.part').read_bytes()==BODY[:1000]
    assert survey_state('sdss', tmp_path/'root')=='partial, 0 %'
    assert get('fine').read_bytes()==BODY and server.seen[-1]['range']=='bytes=1000-'

def test_root_is_a_file(get, tmp_path):
    (tmp_path/'file').write_text('')
    assert 'file is not a folder' in fails(get, 'fine', root=tmp_path/'file')
    assert 'is not a folder' in fails(get, 'fine', root=tmp_path/'file'/'deeper')

def test_no_room(server, get, monkeypatch, tmp_path):
    monkeypatch.setattr(download.shutil, 'disk_usage', lambda p: shutil._ntuple_diskusage(10**9, 10**9-100_000, 100_000))
    assert 'another 0.4 MB are needed, and the disk has only 0.1 MB free' in fails(get, 'fine') and not server.seen
    (tmp_path/'root'/'Galaxy10.h5.part').write_bytes(BODY[:350_000]) # now the rest fits
    assert get('fine').read_bytes()==BODY

def refuse(path, code):
    "An `open` that fails with `code` for files whose name ends in `path`"
    real = Path.open
    def f(self, mode='r', *args, **kw):
        if self.name.endswith(path) and ('w' in mode or 'a' in mode): raise OSError(code, os.strerror(code), str(self))
        return real(self, mode, *args, **kw)
    return f

@pytest.mark.parametrize('code,reason', [(errno.EACCES,'cannot be written to'), (errno.EROFS,'cannot be written to'), (errno.EIO,'Input/output error')])
def test_read_only(get, monkeypatch, code, reason):
    monkeypatch.setattr(Path, 'open', refuse('.part', code))
    assert reason in fails(get, 'fine', 'fine')

def test_read_only_folder(get, tmp_path, monkeypatch):
    def no(*args, **kw): raise PermissionError(errno.EACCES, 'Permission denied')
    monkeypatch.setattr(filelock.FileLock, 'acquire', no)
    assert 'root cannot be written to' in fails(get, 'fine')

def test_file_in_read_only_folder_is_used(get, tmp_path, monkeypatch):
    (tmp_path/'Galaxy10.h5').write_bytes(BODY)
    def no(*args, **kw): raise PermissionError(errno.EACCES, 'Permission denied')
    for o in ('write_text','mkdir'): monkeypatch.setattr(Path, o, no)
    assert get('gone', root=tmp_path)==tmp_path/'Galaxy10.h5'

@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full here')
def test_disk_full_while_writing(server, get, tmp_path, monkeypatch):
    real = Path.open
    monkeypatch.setattr(Path, 'open', lambda self,mode='r',*a,**kw: real(Path('/dev/full') if self.suffix=='.part' and mode=='ab' else self, mode, *a, **kw))
    (tmp_path/'root').mkdir()
    (tmp_path/'root'/'Galaxy10.h5.part').write_bytes(BODY[:200_000])
    msg = fails(get, 'fine','fine')
    assert 'the disk is full' in msg and '0.2 MB received are kept in Galaxy10.h5.part' in msg
    assert len(server.seen)==1 and (tmp_path/'root'/'Galaxy10.h5.part').stat().st_size==200_000 # no other address helps
    monkeypatch.undo()

# ---------------------------------------------------------------- verified once

def test_found_file_is_verified_once(server, get, tmp_path, monkeypatch):
    p = tmp_path/'Galaxy10.h5'
    p.write_bytes(BODY)
    assert get('fine', root=tmp_path)==p and not server.seen
    def no_hash(*args): raise AssertionError('summed a second time')
    with monkeypatch.context() as m:
        m.setattr(download, 'sha256_file', no_hash)
        assert get('fine', root=tmp_path)==p and verify_survey('sdss', tmp_path)==p
    st = p.stat()
    body = bytearray(BODY)
    body[-1] ^= 1                         # same size, one bit
    p.write_bytes(body)
    os.utime(p, ns=(st.st_atime_ns, st.st_mtime_ns+1))
    with pytest.raises(ValueError, match='is not the published Galaxy10.h5') as e: get('fine', root=tmp_path)
    assert '\n' not in str(e.value) and 'delete it to download it again' in str(e.value)
    p.write_bytes(body[:100])
    with pytest.raises(ValueError, match='for 100 bytes'): verify_survey('sdss', tmp_path)

def test_a_bit_that_flipped_unnoticed(get, tmp_path):
    p = tmp_path/'Galaxy10.h5'
    p.write_bytes(BODY)
    get('fine', root=tmp_path)
    st = p.stat()
    p.write_bytes(OTHER)
    os.utime(p, ns=(st.st_atime_ns, st.st_mtime_ns)) # as a disk would do it: nothing tells
    assert verify_survey('sdss', tmp_path)==p
    with pytest.raises(ValueError, match='is not the published'): verify_survey('sdss', tmp_path, again=True)
    with pytest.raises(ValueError, match='is not the published'): verify_survey('sdss', tmp_path) # it is remembered

@pytest.mark.parametrize('name', ['sim_sdss','hubble'])
def test_names_without_a_file(name):
    for f in (download_survey, verify_survey):
        with pytest.raises(ValueError, match=f"'{name}'.*expected one of sdss, decals"): f(name)

# ---------------------------------------------------------------- other programs

PROGRAM = textwrap.dedent('''
    import sys
    from dataclasses import replace
    from galaxy_ssl.survey.download import SURVEYS, download_survey
    url,root,sha,size = sys.argv[1:]
    SURVEYS['sdss'] = replace(SURVEYS['sdss'], url=url, mirrors=(), sha256=sha, bytes=int(size))
    print(download_survey('sdss', root))''')

@pytest.fixture
def start(server, get, tmp_path):
    "`start()` starts another program that downloads from a slow server"
    running = []
    def start():
        running.append(subprocess.Popen([sys.executable,'-c',PROGRAM,f'{server.url}/slow/Galaxy10.h5',str(tmp_path/'root'),SHA,str(len(BODY))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH':str(Path(download.__file__).parents[2])}))
        return running[-1]
    yield start
    for o in running:
        if o.poll() is None: o.kill()
        o.communicate()

def wait_for(test, seconds=10):
    t = time.time()
    while not test():
        assert time.time()-t<seconds, 'waited in vain'
        time.sleep(.01)

def test_killed_and_resumed(server, start, get, tmp_path):
    part = tmp_path/'root'/'Galaxy10.h5.part'
    a = start()
    wait_for(lambda: part.exists() and part.stat().st_size>=2**16)
    a.send_signal(signal.SIGKILL)
    a.wait()
    n = part.stat().st_size
    assert part.read_bytes()==BODY[:n] and not (tmp_path/'root'/'Galaxy10.h5').exists()
    server.pace = 0
    assert get('slow').read_bytes()==BODY and names(tmp_path/'root')==DONE # its lock ended with it
    assert server.seen[1]['range']==f'bytes={n}-' and server.seen[1]['sent']==len(BODY)-n

def test_two_at_once(server, start, tmp_path):
    a = start()
    wait_for(lambda: server.seen)
    b = start()
    outs = [o.communicate(timeout=20) for o in (a,b)]
    assert [o.returncode for o in (a,b)]==[0,0] and {o.strip() for o,_ in outs}=={str(tmp_path/'root'/'Galaxy10.h5')}
    assert len(server.seen)==1 and server.seen[0]['sent']==len(BODY) # sent once
    assert outs[0][1]=='' and outs[1][1].strip()=='another program is making Galaxy10.h5, waiting for it'
    assert names(tmp_path/'root')==DONE

def test_the_one_that_waits_goes_on(server, start, tmp_path):
    a = start()
    wait_for(lambda: (tmp_path/'root'/'Galaxy10.h5.part').exists() and (tmp_path/'root'/'Galaxy10.h5.part').stat().st_size>=2**16)
    b = start()
    time.sleep(.5)
    a.kill(); a.wait()
    server.pace = 0
    assert b.communicate(timeout=20)[0].strip().endswith('Galaxy10.h5') and b.returncode==0
    assert len(server.seen)==2 and server.seen[1]['range'] and (tmp_path/'root'/'Galaxy10.h5').read_bytes()==BODY
