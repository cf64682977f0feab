import { expect } from 'chai'
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Lab, folderOf } from '../../tools/lab/lab.js'
import { defaultWish } from '../../tools/lab/plan.js'
import { namespaceOf } from '../../tools/lab/network.js'
import { dist, eventually } from './cluster.js'
import { run } from '../../tools/lab/command.js'

// Names of this run alone: another run on this machine, which begins by taking down its labs, must not mean ours.
const names = { lab: `t-lab-${process.pid}`, other: `t-other-${process.pid}`, wreck: `t-wreck-${process.pid}` }
const small = { ...defaultWish, managers: 0, storage: 1, heads: 1, disks: 1, diskBytes: 128n * 1024n ** 2n, daemons: false, dist }

/** Kernels of a lab that still run, by their command lines; the dying have none any more. */
async function kernelsOf(name: string): Promise<number> {
  const { stdout } = await run({ file: 'ps', args: ['axww', '-o', 'args'], timeoutMs: 10_000 })
  return stdout.split('\n').filter((line) => line.includes(`uml_dir=${folderOf(name)}/`)).length
}

async function expectNothingOf(name: string): Promise<void> {
  await eventually('no kernel is left', () => kernelsOf(name), (count) => count === 0, 5000)
  expect(existsSync(folderOf(name)) || existsSync(`/run/vsky-lab-${name}`) || existsSync(`/run/netns/${namespaceOf(name)}`)).to.equal(false)
}

describe('the lab', () => {
  let lab: Lab
  before(async () => {
    await Lab.down(names.lab)
    lab = await Lab.up({ ...small, name: names.lab })
  })
  after(async () => {
    await Lab.down(names.lab)
    await expectNothingOf(names.lab)
  })

  it('passes a program\'s exit code, output and input through', async () => {
    expect(await lab.exec('st1', ['bash', '-c', 'cat; echo error >&2; exit 7'], { stdin: 'hello' })).to.deep.equal({ code: 7, stdout: 'hello', stderr: 'error\n' })
  })

  it('ends a program at its time limit', async () => {
    expect((await lab.exec('st1', ['sleep', '60'], { timeoutMs: 300 })).code).to.equal(137)
  })

  it('loses nothing in a power failure that was flushed to the host\'s disk, and forgets what was in memory', async () => {
    await lab.must('st1', ['bash', '-c', 'echo kept > /var/lib/vsky/x; sync; echo gone > /run/y'])
    await lab.powerOff('st1')
    expect(lab.powered('st1')).to.equal(false)
    await lab.powerOn('st1')
    expect(await lab.must('st1', ['bash', '-c', 'cat /var/lib/vsky/x; ls /run/y 2>&1 | grep -c such'])).to.equal('kept\n1\n')
  })

  it('cuts one direction of one plane, and heals it', async () => {
    const reach = async (from: string, to: string): Promise<boolean> => (await lab.exec(from, ['bash', '-c', `exec 3<>/dev/tcp/${to}/7`], { timeoutMs: 1500 })).code === 0
    const { controlAddress } = lab.host('st1')
    expect(await reach('hd1', controlAddress)).to.equal(true)
    await lab.cut({ from: 'hd1', to: 'st1', plane: 'control', oneWay: true })
    expect(await reach('hd1', controlAddress)).to.equal(false)
    await lab.heal()
    expect(await reach('hd1', controlAddress)).to.equal(true)
  })

  it('makes a disk fail, slow, and well again; a bad one is still bad after a power failure', async () => {
    const read = (): Promise<number> => lab.exec('st1', ['dd', 'if=/dev/mapper/disk1', 'of=/dev/null', 'bs=4096', 'count=1', 'iflag=direct']).then((result) => result.code)
    expect(await read()).to.equal(0)
    await lab.faults.set('st1', 1, { kind: 'fail', direction: 'both' })
    expect(await read()).to.equal(1)
    await lab.powerOff('st1')
    await lab.powerOn('st1')
    expect(await read()).to.equal(1)
    await lab.faults.set('st1', 1, { kind: 'slow', ms: 700 })
    const started = performance.now()
    expect(await read()).to.equal(0)
    expect(performance.now() - started).to.be.greaterThan(650)
    await lab.faults.heal('st1', 1)
    expect(await read()).to.equal(0)
  })

  it('fails reads alone or writes alone, and a hung disk answers nothing until it is healed', async () => {
    const dd = (from: string, to: string, flag: string): Promise<number> =>
      lab.exec('st1', ['dd', `if=${from}`, `of=${to}`, 'bs=4096', 'count=1', `${flag}=direct`], { timeoutMs: 2000 }).then((result) => result.code)
    const both = async (): Promise<readonly number[]> => [await dd('/dev/mapper/disk1', '/dev/null', 'iflag'), await dd('/dev/zero', '/dev/mapper/disk1', 'oflag')]
    await lab.faults.set('st1', 1, { kind: 'fail', direction: 'read' })
    expect(await both()).to.deep.equal([1, 0])
    await lab.faults.set('st1', 1, { kind: 'fail', direction: 'write' })
    expect(await both()).to.deep.equal([0, 1])
    await lab.faults.set('st1', 1, { kind: 'hang' })
    await lab.must('st1', ['bash', '-c', 'dd if=/dev/mapper/disk1 of=/dev/null bs=4096 count=1 iflag=direct > /run/hung 2>&1 & echo $! > /run/hung.pid; sleep 0.5; kill -0 $(</run/hung.pid)'])
    await lab.faults.heal('st1', 1)
    await eventually('the held read ends', () => lab.exec('st1', ['bash', '-c', 'kill -0 $(</run/hung.pid)']), (result) => result.code !== 0, 5000)
    expect(await both()).to.deep.equal([0, 0])
    expect((await lab.must('st1', ['ls', '/dev/mapper'])).includes('dead')).to.equal(false)
  })

  it('starts a host again that halted by itself', async () => {
    await lab.exec('hd1', ['poweroff', '-f'], { timeoutMs: 5000 }).catch(() => undefined) // it goes away in the middle
    await eventually('its kernel has ended', () => lab.running('hd1'), (alive) => !alive, 10_000)
    await lab.powerOn('hd1')
    expect((await lab.exec('hd1', ['true'])).code).to.equal(0)
  })

  it('plugs in another disk', async () => {
    expect(await lab.faults.add('st1', 64n * 1024n ** 2n)).to.equal('/dev/mapper/disk2')
    expect(await lab.must('st1', ['blockdev', '--getsize64', '/dev/mapper/disk2'])).to.equal(`${64 * 1024 ** 2}\n`)
  })

  it('does not disturb another lab beside it', async () => {
    const other = await Lab.up({ ...small, name: names.other, heads: 0 })
    await other.must('st1', ['bash', '-c', 'echo other > /var/lib/vsky/who'])
    expect((await lab.exec('st1', ['cat', '/var/lib/vsky/who'])).code).to.equal(1)
    await other.down()
    await expectNothingOf(names.other)
    expect((await lab.exec('st1', ['true'])).code).to.equal(0)
  })

  it('of one name is made once: a second one is refused and disturbs nothing', async () => {
    await Lab.up({ ...small, name: names.lab }).then(() => expect.fail('it was made'), (thrown: unknown) => { expect(String(thrown)).to.contain('is up already') })
    expect((await lab.exec('st1', ['true'])).code).to.equal(0)
  })

  it('that was killed while it came up is a wreck, which down removes', async () => {
    const child = spawn(process.execPath, [join(dist, 'tools/lab/main.js'), '--lab', names.wreck, 'up', '--no-daemons', '--storage', '2', '--heads', '0', '--managers', '0'], { stdio: 'ignore' })
    await eventually('a kernel of it runs', () => kernelsOf(names.wreck), (count) => count > 0)
    child.kill('SIGKILL')
    expect(await Lab.down(names.wreck)).to.equal(true)
    await expectNothingOf(names.wreck)
    expect(readFileSync('/proc/mounts', 'utf8')).not.to.contain(names.wreck)
  })
})
