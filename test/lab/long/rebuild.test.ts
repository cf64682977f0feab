/** The database is gone and there is no backup: what the hosts tell is enough. */
import { expect } from 'chai'
import type { VolumeView } from '../../../lib/api/views.js'
import type { Lab } from '../../../tools/lab/lab.js'
import { hasAgent } from '../../../tools/lab/plan.js'
import { leftovers, startWriter, unequalLegs, verifyWritten } from '../../../tools/lab/trial.js'
import { attach, create, detach, eventually, remove, show, useLab } from '../cluster.js'

const names = Array.from({ length: 20 }, (_, at) => `v${String(at + 1).padStart(2, '0')}`)
const onHeads: readonly (readonly [volume: string, head: string])[] = [['v03', 'hd1'], ['v02', 'hd1'], ['v05', 'hd1'], ['v06', 'hd2'], ['v08', 'hd2'], ['v09', 'hd2']]

async function twoAtATime<T>(all: readonly T[], work: (each: T) => Promise<unknown>): Promise<void> {
  const left = [...all]
  await Promise.all([1, 2].map(async () => {
    for (let each = left.shift(); each !== undefined; each = left.shift()) await work(each)
  }))
}

/** As `vsky-manager rebuild` tells of a volume. What a server had in its disks' caches when it lost power may be gone: under a volume in use its legs are not good any more. */
function told({ name, bytes, state, head, redundancy, segments }: VolumeView, startedAnew: string): string {
  const isGood = (leg: VolumeView['segments'][number]['legs'][number]): boolean => leg.state === 'insync' && (state === 'detached' || leg.host !== startedAnew)
  const good = segments.map((segment) => segment.legs.filter(isGood).length)
  const behind = segments.reduce((sum, segment) => sum + segment.legs.length, 0) - good.reduce((sum, each) => sum + each, 0)
  return `  ${name}  ${bytes} bytes  ${state === 'detached' ? 'detached' : `attached to ${head}`}  ${good.length} segments, ${Math.min(...good)} to ${Math.max(...good)} good legs of ${redundancy}, ${behind} legs behind`
}

async function rebuild(lab: Lab, ...options: readonly string[]): Promise<{ readonly code: number; readonly lines: readonly string[] }> {
  const hosts = lab.hosts.filter(hasAgent).map((host) => `${host.name}=${host.controlAddress}:8882`).join(',')
  const { code, stdout, stderr } = await lab.exec('mgr1', ['node', `${lab.wish.dist}/manager/main.js`, '--config', '/etc/vsky/manager.toml', 'rebuild', '--hosts', hosts, ...options], { timeoutMs: 60_000 })
  return { code, lines: `${stdout}${stderr}`.split('\n') }
}

describe('the database is gone, on real kernels', () => {
  const lab = useLab('t-rebuild', { extentSize: '64MiB' })

  it('twenty volumes come back as they were, with the same good legs; one that was left behind, or is in doubt, is not taken for good, and nothing acknowledged is lost', async function twenty() {
    this.timeout(420_000)
    await twoAtATime([...names.entries()], ([at, name]) => create(lab(), name, at % 5 === 4 ? '100MiB' : '16MiB', at % 3 + 1))
    await twoAtATime(onHeads, ([volume, head]) => attach(lab(), volume, head))
    await attach(lab(), 'v11', 'hd2')
    await detach(lab(), 'v11')
    await remove(lab(), 'v20')
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v03')
    await lab().powerOff('st3')
    await eventually('the leg on st3 is left behind', () => show(lab(), 'v03'), ({ segments }) => segments[0]?.legs.find((leg) => leg.host === 'st3')?.state === 'stale')
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const written = await writer.stop()
    expect(written.error).to.equal('')
    const there = names.filter((name) => name !== 'v20')
    const before = await Promise.all(there.map((name) => show(lab(), name)))
    await lab().service('mgr1', 'stop')
    await lab().must('mgr1', ['bash', '-c', 'rm -f /var/lib/vsky/manager.db*'])
    await lab().powerOn('st3')
    await eventually('all hosts answer', () => rebuild(lab(), '--plan'), ({ lines }) => !lines.some((line) => line.includes('DID NOT ANSWER')))

    const { code, lines } = await rebuild(lab(), '--yes')
    expect(code, lines.join('\n')).to.equal(0)
    expect(lines.filter((line) => /^ {2}v\d\d {2}/.test(line)).sort()).to.deep.equal(before.map((volume) => told(volume, 'st3')))
    await lab().service('mgr1', 'start')
    await lab().waitRegistered()
    const after = await Promise.all(there.map((name) => show(lab(), name)))
    const kept = ({ name, bytes, state, head, redundancy, segments }: VolumeView): unknown => ({ name, bytes, state, head, redundancy, segments: segments.map((segment) => ({ bytes: segment.bytes, legs: segment.legs.map((leg) => `${leg.host} ${leg.disk} ${leg.extent}`).sort() })) })
    expect(after.map(kept)).to.deep.equal(before.map(kept))
    expect(await verifyWritten(lab(), 'hd1', '/dev/vsky/v03', written)).to.deep.equal({ lost: 0, detail: '' })
    await eventually('all legs are good again', () => Promise.all(there.map((name) => show(lab(), name))), (all) => all.every(({ segments }) => segments.every((segment) => segment.legs.every((leg) => leg.state === 'insync'))), 90_000)

    await twoAtATime(onHeads, ([volume]) => detach(lab(), volume))
    for (const [volume] of onHeads) expect(await unequalLegs(lab(), volume)).to.deep.equal([])
    await twoAtATime(there, (name) => remove(lab(), name))
    await eventually('nothing is left', () => leftovers(lab()), (found) => found.length === 0)
  })
})
