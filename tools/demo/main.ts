/**
 * `npm run demo`: a whole cluster on this machine, in real Linux kernels, and a volume through its life. Every step says what it does
 * and how long it took; the last line is the verdict.
 */
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { VolumeView } from '../../lib/api/views.js'
import { messageOf } from '../../lib/faults.js'
import { formatSize, formatSizeRounded } from '../../lib/units.js'
import { Lab, LabError } from '../lab/lab.js'
import { defaultWish } from '../lab/plan.js'
import { leftovers, startWriter, unequalLegs, verifyWritten } from '../lab/trial.js'
import type { WriterResult } from '../lab/trial.js'

const NAME = 'demo'
const dist = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const keep = process.argv.includes('--keep')
const started = performance.now()
let failures = 0

function clock(): string {
  return `${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s`
}

function say(text: string): void {
  console.log(`${clock()}  ${text}`)
}

function heading(text: string): void {
  console.log(`\n${text}`)
}

/** One step: its name, what it gave, how long it took. A failure ends the demo. */
async function step<T>(what: string, act: () => Promise<T>, outcome: (value: T) => string = () => ''): Promise<T> {
  const from = performance.now()
  const value = await act()
  const told = outcome(value)
  say(`${what}${told === '' ? '' : `: ${told}`}  [${((performance.now() - from) / 1000).toFixed(2)} s]`)
  return value
}

function expect(condition: boolean, claim: string): void {
  if (condition) return
  failures += 1
  say(`NOT TRUE: ${claim}`)
}

async function mount(lab: Lab, host: string): Promise<void> {
  await lab.must(host, ['bash', '-c', 'mkdir -p /run/data && mount /dev/vsky/disk1 /run/data'])
}

async function unmount(lab: Lab, host: string): Promise<void> {
  await lab.must(host, ['umount', '/run/data'])
}

async function checksums(lab: Lab, host: string): Promise<string> {
  return lab.must(host, ['bash', '-c', 'cd /run/data && sha256sum file-*'])
}

async function story(lab: Lab): Promise<void> {
  heading('A volume larger than any disk, three copies of everything')
  const made = await step('vsky volume create disk1 --size 1280MiB --redundancy 3', () => lab.json<VolumeView>(['volume', 'create', 'disk1', '--size', '1280MiB', '--redundancy', '3']),
    (volume) => `${formatSize(BigInt(volume.bytes))} in ${volume.segments.length} segments, ${volume.segments.reduce((sum, segment) => sum + segment.legs.length, 0)} extents on ${new Set(volume.segments.flatMap((segment) => segment.legs.map((leg) => leg.disk))).size} disks`)
  expect(made.segments.every((segment) => new Set(segment.legs.map((leg) => leg.host)).size === 3), 'the three legs of each segment are on three servers')
  await step('vsky volume attach disk1 --host hd1', () => lab.json<VolumeView>(['volume', 'attach', 'disk1', '--host', 'hd1']), (volume) => `${volume.device} on ${volume.head}`)
  await step('hd1 makes ext4 on it and mounts it', async () => { await lab.must('hd1', ['mkfs.ext4', '-q', '-J', 'size=8', '/dev/vsky/disk1']); await mount(lab, 'hd1') })
  await step('hd1 writes 8 files of 8 MiB', () => lab.must('hd1', ['bash', '-c', 'for i in 1 2 3 4 5 6 7 8; do dd if=/dev/urandom of=/run/data/file-$i bs=1M count=8 status=none; done; sync']))
  const before = await checksums(lab, 'hd1')

  heading('Daemons die while a writer runs: nobody notices')
  const writer = await startWriter(lab, 'hd1', '/run/data/writer', 512)
  say('a writer on hd1 writes numbered blocks, each synchronous')
  await step('kill -9 of the manager on mgr1', () => lab.service('mgr1', 'kill9'))
  await step('kill -9 of the agents on hd1, st1, st2, st3', () => Promise.all(['hd1', 'st1', 'st2', 'st3'].map((host) => lab.service(host, 'kill9'))))
  await step('all of them are back', async () => { await new Promise((resolve) => setTimeout(resolve, 1500)); await lab.waitRegistered() })
  await new Promise((resolve) => setTimeout(resolve, 1000))
  const written = await writer.stop()
  say(`the writer did ${written.writes} writes meanwhile, the longest took ${written.longestMs} ms`)
  expect(written.error === '' && written.writes > 0, `the writer met no error (${written.error || `${written.writes} writes`})`)

  heading('The same data on another head')
  await step('vsky volume detach disk1, while it is mounted', () => lab.vsky(['volume', 'detach', 'disk1']), (result) => `refused, exit ${result.code}: ${result.stderr.split('\n')[0] ?? ''}`).then((result) => { expect(result.code === 4, 'a volume in use is not detached') })
  await unmount(lab, 'hd1')
  await step('unmounted; vsky volume detach disk1', () => lab.json(['volume', 'detach', 'disk1']))
  await step('vsky volume attach disk1 --host hd2', () => lab.json<VolumeView>(['volume', 'attach', 'disk1', '--host', 'hd2']), (volume) => `${volume.device} on ${volume.head}`)
  await step('hd2 checks the file system and mounts it', async () => { await lab.must('hd2', ['fsck.ext4', '-fn', '/dev/vsky/disk1']); await mount(lab, 'hd2') })
  const after = await step('hd2 reads all files back', () => checksums(lab, 'hd2'), (sums) => `${sums.trim().split('\n').length} checksums`)
  expect(after === before, 'all checksums are the same')
  const check = await step('hd2 checks every acknowledged write', () => verifyWritten(lab, 'hd2', '/run/data/writer', written), ({ lost }) => `${lost} lost of ${written.writes}`)
  expect(check.lost === 0, `nothing acknowledged was lost (${check.detail})`)
  await unmount(lab, 'hd2')

  heading('Gone, and nothing left behind')
  await step('vsky volume detach disk1', () => lab.json(['volume', 'detach', 'disk1']))
  await step('vsky volume delete disk1', () => lab.json(['volume', 'delete', 'disk1']))
  await searchLeftovers(lab)
}

/** Pulls plugs under a writer. Each event tells how long the writer had to wait at most. */
async function secondAct(lab: Lab): Promise<void> {
  heading('A second volume, three copies, and a writer that never rests')
  await step('vsky volume create disk2 --size 256MiB --redundancy 3', () => lab.json(['volume', 'create', 'disk2', '--size', '256MiB', '--redundancy', '3']))
  await step('vsky volume attach disk2 --host hd1', () => lab.json<VolumeView>(['volume', 'attach', 'disk2', '--host', 'hd1']), (volume) => `${volume.device} on ${volume.head}`)
  await step('vsky setting set repair.grace 60', () => lab.json(['setting', 'set', 'repair.grace', '60']))

  heading('A storage server loses power')
  await underWriter(lab, 'hd1', async () => {
    await step('st2: the plug is pulled', () => lab.powerOff('st2'))
    await step('the manager has recorded its leg as stale, and the writer goes on', () => until(lab, (volume) => legsOf(volume, 'stale').length > 0), (volume) => `generation ${volume.segments[0]?.generation ?? 0}`)
    await step('st2 is switched on again', () => lab.powerOn('st2'))
    await step('its leg is caught up', () => until(lab, whole), () => 'three good legs')
  })
  await equal(lab)

  heading('A disk dies')
  await underWriter(lab, 'hd1', async () => {
    const dead = (await lab.json<VolumeView>(['volume', 'show', 'disk2'])).segments[0]?.legs.find((leg) => leg.host === 'st3')
    const number = Number(/\d+$/.exec(dead?.device ?? '')?.[0] ?? 1)
    await step(`st3: disk ${number} gives errors`, () => lab.faults.set('st3', number, { kind: 'fail', direction: 'both' }))
    await step('its leg is stale', () => until(lab, (volume) => legsOf(volume, 'stale').length > 0))
    await step(`vsky disk fail st3:${dead?.device ?? ''}`, () => lab.vsky(['disk', 'fail', `st3:${dead?.device ?? ''}`]))
    await step('a new leg is made on another disk, and copied', () => until(lab, whole), (volume) => volume.segments[0]?.legs.map((leg) => `${leg.host}:${leg.device}`).join(', ') ?? '')
  })
  await equal(lab)

  heading('The head dies, and nobody can ask it')
  const written = await underWriter(lab, 'hd1', () => new Promise((resolve) => setTimeout(resolve, 1500)))
  await step('hd1: the plug is pulled', () => lab.powerOff('hd1'))
  await step('vsky volume attach disk2 --host hd2 --force-from-dead-host', async () => {
    for (;;) {
      const result = await lab.vsky(['volume', 'attach', 'disk2', '--host', 'hd2', '--force-from-dead-host'])
      if (result.code === 0) return
      if (!result.stderr.includes('answers')) throw new LabError(result.stderr)
      await new Promise((resolve) => setTimeout(resolve, 500)) // refused as long as the manager has heard hd1 within 4.5 s
    }
  }, () => 'hd1 is shut out on every server, hd2 has it')
  const check = await step('hd2 checks every acknowledged write', () => verifyWritten(lab, 'hd2', '/dev/vsky/disk2', written), ({ lost }) => `${lost} lost of ${written.writes}`)
  expect(check.lost === 0, `nothing acknowledged was lost (${check.detail})`)
  await step('the regions that may differ are copied', () => until(lab, whole))
  await equal(lab)

  heading('One verdict, and nothing left behind')
  await step('vsky status', () => lab.vsky(['status']), (result) => result.stdout.split('\n')[0] ?? '')
  await step('st3: its disk is replaced, and in use again', async () => {
    for (const disk of [1, 2]) {
      await lab.faults.heal('st3', disk)
      await lab.vsky(['disk', 'use', `st3:/dev/mapper/disk${disk}`])
    }
  })
  await step('hd1 is switched on again', async () => { await lab.powerOn('hd1'); await lab.waitRegistered() })
  await step('vsky volume detach disk2; vsky volume delete disk2', async () => { await lab.json(['volume', 'detach', 'disk2']); await lab.json(['volume', 'delete', 'disk2']) })
  await searchLeftovers(lab)
}

function legsOf(volume: VolumeView, state: string): readonly unknown[] {
  return volume.segments.flatMap((segment) => segment.legs.filter((leg) => leg.state === state))
}

function whole(volume: VolumeView): boolean {
  return volume.health === 'full' && volume.segments.every((segment) => segment.legs.length === volume.redundancy && segment.legs.every((leg) => leg.state === 'insync'))
}

async function until(lab: Lab, good: (volume: VolumeView) => boolean): Promise<VolumeView> {
  const last = performance.now() + 120_000
  for (;;) {
    const volume = await lab.json<VolumeView>(['volume', 'show', 'disk2'])
    if (good(volume)) return volume
    if (performance.now() > last) throw new LabError(`disk2 is ${volume.health} after two minutes: ${volume.problem}`)
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
}

async function underWriter(lab: Lab, head: string, events: () => Promise<void>): Promise<WriterResult> {
  const writer = await startWriter(lab, head, '/dev/vsky/disk2', 1024)
  await events()
  const written = await writer.stop()
  say(`the writer did ${written.writes} writes meanwhile; it had to wait ${written.longestMs} ms at most, and met ${written.error === '' ? 'no error' : written.error}`)
  expect(written.error === '', 'the writer met no error')
  const check = await verifyWritten(lab, head, '/dev/vsky/disk2', written)
  expect(check.lost === 0, `nothing acknowledged was lost (${check.detail})`)
  return written
}

async function equal(lab: Lab): Promise<void> {
  const unequal = await step('all legs are compared byte for byte on their servers', () => unequalLegs(lab, 'disk2'), (found) => (found.length === 0 ? 'equal' : found.join('; ')))
  expect(unequal.length === 0, 'in-sync legs are equal')
}

async function searchLeftovers(lab: Lab): Promise<void> {
  const left = await step('a search on every host for logical volumes, exports, sessions, devices, records', async () => {
    const last = performance.now() + 20_000
    for (;;) {
      const found = await leftovers(lab)
      if (found.length === 0 || performance.now() > last) return found
      await new Promise((resolve) => setTimeout(resolve, 500)) // a disk that failed is cleaned as soon as it is seen again
    }
  }, (found) => (found.length === 0 ? 'nothing' : `${found.length} things`))
  for (const each of left) say(`  left: ${each}`)
  expect(left.length === 0, 'nothing is left on any host')
}

async function main(): Promise<void> {
  console.log('Vsky demo: 1 manager, 3 storage servers, 2 head servers, each with a real Linux kernel of its own (user-mode-linux)\n')
  if ((await Lab.list()).includes(NAME)) {
    say('a lab of an earlier demo is there: taking it down first')
    await Lab.down(NAME)
  }
  const lab = await Lab.up({ ...defaultWish, name: NAME, diskBytes: 1024n ** 3n, extentSize: '256MiB', dist }, say)
  say(`6 disks of ${formatSizeRounded(1024n ** 3n)}, registered; each is read, and overwritten where it is not zero, in the background`)
  try {
    await story(lab)
    await secondAct(lab)
  } catch (thrown) {
    failures += 1
    say(`FAILED: ${messageOf(thrown)}`)
  }
  if (keep) {
    console.log(`\nThe cluster stays up. To try:\n  npm run lab -- --lab ${NAME} vsky host list\n  npm run lab -- --lab ${NAME} vsky volume create mine --size 1GiB --redundancy 2\n  npm run lab -- --lab ${NAME} vsky volume attach mine --host hd1\n  npm run lab -- --lab ${NAME} shell hd1\n  npm run lab -- --lab ${NAME} power-off st1\n  npm run lab -- --lab ${NAME} down`)
  } else {
    await step('the lab is taken down', () => lab.down())
  }
  console.log(`\n${failures === 0 ? 'VERDICT: everything held' : `VERDICT: FAILED, ${failures} ${failures === 1 ? 'thing was' : 'things were'} not true`}, after ${((performance.now() - started) / 1000).toFixed(1)} s`)
}

const interrupted = (): void => {
  console.error('\ninterrupted: the lab is taken down')
  void Lab.down(NAME).then(() => process.exit(130))
}
process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
try {
  await main()
} catch (thrown) {
  console.error(thrown instanceof LabError ? thrown.message : `demo: ${messageOf(thrown)}`)
  console.error('VERDICT: FAILED, the cluster did not come up')
  failures += 1
}
process.exit(failures === 0 ? 0 : 1)
