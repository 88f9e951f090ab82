"The script for a machine with a GPU, without one: it parses, its help works, files that it cuts into parts come together bit for bit"
import json, os, runpy, subprocess, sys, tarfile
from types import SimpleNamespace
import pytest
from house import ROOT

SCRIPT = ROOT/'.ci'/'gpu'
gpu = SimpleNamespace(**runpy.run_path(str(ROOT/'.ci'/'gpu.py'), run_name='gpu'))

def call(*args, **kw): return subprocess.run(list(map(str,args)), capture_output=True, text=True, timeout=120, **kw)

@pytest.mark.skipif(os.name=='nt', reason='a script of bash')
def test_it_parses_and_helps():
    assert call('bash','-n',SCRIPT).returncode==0
    r = call('bash',SCRIPT,'--help')
    assert r.returncode==0 and '.ci/gpu wheels DIR' in r.stdout and '--minutes' in r.stdout
    r = call('bash',SCRIPT,'fly')
    assert r.returncode==2 and "unknown command 'fly'" in r.stderr

@pytest.mark.parametrize('command', ['run','wheels','join','split','lacking','step'])
def test_each_command_helps(command):
    r = call(sys.executable,ROOT/'.ci'/'gpu.py',command,'--help')
    assert r.returncode==0 and command in r.stdout

def test_unknown_steps_are_refused():
    with pytest.raises(SystemExit, match='--do got dance, expected any of tests'): gpu.main(['run','--do','tests,dance'])

def test_torch_is_not_carried():
    assert not {'torch','torchvision','triton'}&{gpu.base(o) for o in gpu.SMALL+gpu.LARGE}
    assert gpu.base('Fast_Progress==1.0.3')=='fast-progress' and gpu.here('torch') and not gpu.here('no-such-thing')

@pytest.mark.parametrize('size', [0,1,999,1000,1001,2500])
def test_parts_come_together_bit_for_bit(size, tmp_path):
    data = os.urandom(size)
    f = tmp_path/'weights.bin'
    f.write_bytes(data)
    lines = gpu.split(f, 1000)
    (tmp_path/'JOIN.txt').write_text('\n'.join(lines)+'\n')
    assert not f.exists() and all(o.stat().st_size<=1000 for o in tmp_path.glob('*.part*'))
    assert gpu.join(tmp_path)==[f] and f.read_bytes()==data

def test_damaged_and_lost_parts(tmp_path):
    f = tmp_path/'w.bin'
    f.write_bytes(bytes(2500))
    (tmp_path/'JOIN.txt').write_text('\n'.join(gpu.split(f, 1000)))
    part = tmp_path/'w.bin.part01'
    part.write_bytes(b'1'*1000)
    with pytest.raises(SystemExit, match='w.bin is damaged'): gpu.join(tmp_path)
    part.unlink()
    with pytest.raises(SystemExit, match='lacks w.bin.part01, a part of w.bin'): gpu.join(tmp_path)
    with pytest.raises(SystemExit, match='has no JOIN.txt'): gpu.join(tmp_path/'nowhere')

def test_results_are_kept_and_taken_up_again(tmp_path):
    "Encoders as they are, states of training in half precision"
    import torch
    from galaxy_ssl.base.checkpoints import checkpoint_files, read_checkpoint, write_checkpoint
    work,out,again = (tmp_path/o for o in ('work','out','again'))
    for o in (work,out,again): o.mkdir()
    (work/'simclr.safetensors').write_bytes(os.urandom(5000))
    w,m = torch.randn(64, 64),torch.rand(64, 64)
    state = dict(epoch=3, model=dict(w=w, b=w[0].clone()), opt=[dict(grad_avg=m)], values=[[1.,2.]], random=dict(t=torch.arange(9, dtype=torch.uint8)))
    for step in (7,10): write_checkpoint(state|dict(epoch=step), work/'simulated.ckpt', '0123abcd', step)
    gpu.keep(work, out)
    assert sorted(o.name for o in out.iterdir())==['JOIN.txt','results.tar.part00']
    gpu.resume(out, again)
    assert (again/'simclr.safetensors').read_bytes()==(work/'simclr.safetensors').read_bytes()
    [file] = checkpoint_files(again/'simulated.ckpt')
    back = read_checkpoint(file)                             # it has a name of its own, with its own checksum
    assert (file.about,file.step,back['epoch'])==('0123abcd',10,10) and back['values']==[[1.,2.]] and torch.equal(back['model']['b'], w[0]) and back['random']['t'].dtype==torch.uint8
    torch.testing.assert_close(back['model']['w'], w, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(back['opt'][0]['grad_avg'], m, rtol=1e-2, atol=1e-6)

def test_an_archive_with_paths_is_refused(tmp_path):
    (tmp_path/'x').write_text('x')
    with tarfile.open(tmp_path/'results.tar','w') as t: t.add(tmp_path/'x', '../x')
    (tmp_path/'JOIN.txt').write_text('\n'.join(gpu.split(tmp_path/'results.tar')))
    with pytest.raises(SystemExit, match='expected plain files'): gpu.join(tmp_path)

def test_figures_grow(tmp_path):
    gpu.note(tmp_path, benchmark=dict(a=1), machine=dict(card='X'))
    gpu.note(tmp_path, benchmark=dict(b=2), seconds=3)
    assert json.loads((tmp_path/'figures.json').read_text())==dict(benchmark=dict(a=1,b=2), machine=dict(card='X'), seconds=3)

def test_a_step_ends_in_time(tmp_path):
    "Interrupted first, and what it said is kept"
    code = "import time\ntry: print('began', flush=True); time.sleep(60)\nexcept KeyboardInterrupt: print('stopped')"
    assert gpu.step(tmp_path, [sys.executable,'-c',code], 6, grace=5)==0
    assert (tmp_path/'log.txt').read_text().split()==['began','stopped']
    assert gpu.step(tmp_path, [sys.executable,'-c',code], 2) is None
