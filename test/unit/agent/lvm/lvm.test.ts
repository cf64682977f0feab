import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import { complaintOf, createLvm, lvPath, lvmConfig, vgName } from '../../../../agent/lvm/lvm.js'
import { Fault } from '../../../../lib/faults.js'
import { systemClock } from '../../../../lib/host/clock.js'
import type { Clock, Run, RunRequest, RunResult } from '../../../../lib/ports.js'

/** What LVM would see of a device: the first pattern of its filter that fits decides, as lvm.conf(5) says. */
function sees(config: string, setting: 'filter' | 'global_filter', device: string): boolean {
  const patterns: unknown = JSON.parse(new RegExp(`^ *${setting} = (.*)$`, 'm').exec(config)?.[1] ?? 'null')
  if (!Array.isArray(patterns)) throw new Error(`there is no ${setting}`)
  for (const each of patterns) {
    const [, action, delimiter, pattern = '', end] = /^([ar])(.)(.*)(.)$/.exec(String(each)) ?? []
    expect(delimiter).to.equal(end)
    if (new RegExp(pattern).test(device)) return action === 'a'
  }
  return true
}

const options = { locks: '/run/vsky/locks', udev: false, types: [] }
// The devices that an order from the wire can name.
const anyDevice = fc.stringMatching(/^[A-Za-z0-9_.:+-][A-Za-z0-9_./:+-]{0,20}$/).map((tail) => `/dev/${tail}`)

describe('LVM\'s filter', () => {
  it('accepts the one device and no other, however much it looks like it', () => {
    fc.assert(fc.property(anyDevice, anyDevice, fc.constantFrom('x', '1', '/', '.', '+', ' '), (device, other, more) => {
      const config = lvmConfig({ device, ...options })
      for (const setting of ['filter', 'global_filter'] as const) {
        expect(sees(config, setting, device), `${setting} ${device}`).to.equal(true)
        for (const each of [`${device}${more}`, `/x${device}`, device.slice(0, -1), device.replace(/[.+]/, 'x'), device.replace('+', ''), other]) {
          if (each !== device) expect(sees(config, setting, each), `${setting} of ${device}: ${each}`).to.equal(false)
        }
      }
    }))
  })

  it('is all that decides: no list of devices, no hints, no other daemon', () => {
    const config = lvmConfig({ device: '/dev/sdb', ...options })
    for (const line of ['use_devicesfile = 0', 'hints = "none"', 'obtain_device_list_from_udev = 0', 'external_device_info_source = "none"', 'use_lvmlockd = 0', 'use_lvmpolld = 0', 'event_activation = 0', 'locking_dir = "/run/vsky/locks"']) expect(config).to.contain(line)
  })

  it('waits for udev exactly where udev runs', () => {
    expect(lvmConfig({ device: '/dev/sdb', ...options, udev: true })).to.contain('udev_sync = 1 udev_rules = 1')
    expect(lvmConfig({ device: '/dev/sdb', ...options })).to.contain('udev_sync = 0 udev_rules = 0').and.not.to.contain('types =')
  })

  it('knows the block devices of a lab by their type', () => {
    expect(lvmConfig({ device: '/dev/ubdb', ...options, types: ['ubd:16', 'x:4'] })).to.contain('types = ["ubd", 16, "x", 4]')
  })
})

describe('what LVM complains of', () => {
  it('is each line but its warnings, as one', () => {
    expect(complaintOf('  WARNING: a\n  One thing.\n\n  Another.\n')).to.equal('One thing.; Another.')
    expect(complaintOf('')).to.equal('')
    expect(complaintOf('x'.repeat(5000))).to.have.length(1000)
  })
})

describe('LVM\'s door', () => {
  let dir = ''
  beforeEach(async () => { dir = await mkdtemp(join(tmpdir(), 'vsky-lvm-')) })
  afterEach(() => rm(dir, { recursive: true }))

  const row = `  LVM2_VG_NAME='vsky_d'|LVM2_VG_TAGS='vsky'|LVM2_VG_EXTENT_COUNT='9'|LVM2_PVSEG_START='0'|LVM2_PVSEG_SIZE='9'|LVM2_LV_NAME=''|LVM2_LV_SIZE='0'|LVM2_LV_TAGS=''|LVM2_LV_ACTIVE=''\n`
  const ended = (more: Partial<RunResult> = {}): RunResult => ({ exit: { kind: 'code', code: 0 }, stdout: row, stderr: '', durationMs: 1, ...more })
  const settle = async (): Promise<void> => { for (let round = 0; round < 20; round += 1) await new Promise((resolve) => setTimeout(resolve, 1)) }

  it('runs the commands and the report in one process, under the disk\'s own configuration', async () => {
    const asked: RunRequest[] = []
    let config = ''
    const run: Run = async (request) => {
      asked.push(request)
      config = await readFile(join(request.env?.LVM_SYSTEM_DIR ?? '', 'lvm.conf'), 'utf8')
      return ended({ stderr: '  WARNING: x\n  Insufficient free space\n' })
    }
    const { pool, complaint } = await createLvm({ run, clock: systemClock, dir, udev: false, types: [] }).batch('d', '/dev/sdb', ['lvchange -ay x', 'lvremove -f y'])
    expect(pool).to.include({ physicalExtents: 9, cleanMark: 0 })
    expect(complaint).to.equal('Insufficient free space')
    expect(asked).to.have.length(1)
    expect(asked[0]).to.deep.include({ file: 'lvm', args: [], env: { LVM_SYSTEM_DIR: join(dir, 'd'), LVM_SUPPRESS_FD_WARNINGS: '1', DM_DISABLE_UDEV: '1' } })
    expect(asked[0]?.input).to.match(/^lvchange -ay x\nlvremove -f y\npvs .*vg_name=vsky_d\n$/)
    expect([sees(config, 'filter', '/dev/sdb'), sees(config, 'filter', '/dev/sda')]).to.deep.equal([true, false])
  })

  it('sees a disk at its new place once it has moved', async () => {
    const lvm = createLvm({ run: () => Promise.resolve(ended()), clock: systemClock, dir, udev: true, types: [] })
    for (const device of ['/dev/sdb', '/dev/sdc']) {
      await lvm.batch('d', device, [])
      expect(sees(await readFile(join(dir, 'd', 'lvm.conf'), 'utf8'), 'filter', device)).to.equal(true)
    }
  })

  it('lets one in at a time for a disk, and another disk beside it', async () => {
    const begun: string[] = []
    const open: (() => void)[] = []
    const run: Run = ({ input = '' }) => new Promise((resolve) => {
      begun.push(input.split('\n')[0] ?? '')
      open.push(() => { resolve(ended()) })
    })
    const lvm = createLvm({ run, clock: systemClock, dir, udev: true, types: [] })
    const work = [lvm.batch('d', '/dev/sdb', ['first']), lvm.batch('d', '/dev/sdb', ['second'])]
    await settle()
    expect(begun).to.deep.equal(['first'])
    const beside = lvm.batch('e', '/dev/sdc', ['other'])
    while (begun.length < 2) await settle()
    expect(begun).to.deep.equal(['first', 'other'])
    for (const each of open) each()
    await beside
    while (begun.length < 3) await settle()
    open[2]?.()
    await Promise.all(work)
    expect(begun).to.deep.equal(['first', 'other', 'second'])
  })

  it('waits no longer for a disk than one that is well may take, asks it nothing more meanwhile, and goes on when it answers', async () => {
    let passed = 0
    const sleeping: { readonly ms: number; readonly end: () => void }[] = []
    const clock: Clock = {
      nowMs: () => passed, monoMs: () => passed,
      sleep: (ms, signal) => new Promise((resolve, reject) => {
        sleeping.push({ ms, end: resolve })
        signal?.addEventListener('abort', () => { reject(new Error('aborted')) })
      }),
    }
    const open: (() => void)[] = []
    const lvm = createLvm({ run: () => new Promise((resolve) => { open.push(() => { resolve(ended()) }) }), clock, dir, udev: true, types: [] })
    const failure = (work: Promise<unknown>): Promise<string> => work.then(() => 'done', (thrown: unknown) => { expect(thrown).to.be.instanceOf(Fault).and.include({ fault: 'agent failed' }); return String(thrown) })
    const first = failure(lvm.batch('d', '/dev/sdb', ['a', 'b']))
    while (open.length < 1) await settle()
    expect(sleeping.map((each) => each.ms)).to.deep.equal([12_000])
    passed = 12_000
    sleeping[0]?.end()
    expect(await first).to.contain('disk d at /dev/sdb has not answered for 12 s')
    passed = 60_000
    expect(await failure(lvm.batch('d', '/dev/sdb', []))).to.contain('has not answered for 60 s')
    expect(open).to.have.length(1)
    open[0]?.()
    await settle()
    const last = lvm.batch('d', '/dev/sdb', [])
    while (open.length < 2) await settle()
    open[1]?.()
    expect((await last).pool).not.to.equal(undefined)
  })

  it('throws \'agent failed\' when LVM hangs or is not there, and serves the next call', async () => {
    const exits: RunResult['exit'][] = [{ kind: 'timeout' }, { kind: 'not started', reason: 'ENOENT' }]
    const lvm = createLvm({ run: () => { const exit = exits.shift(); return Promise.resolve(ended(exit ? { exit } : {})) }, clock: systemClock, dir, udev: true, types: [] })
    for (const text of ['no end within', 'ENOENT']) {
      const thrown: unknown = await lvm.batch('d', '/dev/sdb', []).catch((each: unknown) => each)
      expect(thrown).to.be.instanceOf(Fault).and.include({ fault: 'agent failed' })
      expect(String(thrown)).to.contain(text)
    }
    expect((await lvm.batch('d', '/dev/sdb', [])).pool).not.to.equal(undefined)
  })

  it('knows a disk\'s volume group and an extent\'s path by their ids alone', () => {
    expect([vgName('d'), lvPath('d', 'e')]).to.deep.equal(['vsky_d', '/dev/vsky_d/e'])
  })
})
