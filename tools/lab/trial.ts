/** What demo, lab tests and benchmarks share: a writer on a head that can be stopped and checked, and the search for leftovers. */
import { join } from 'node:path'
import type { VolumeView } from '../../lib/api/views.js'
import type { Lab } from './lab.js'
import { hasAgent } from './plan.js'
import { LabError } from './lab.js'
import { underWay } from './writer-files.js'

export interface WriterResult {
  readonly writes: number
  readonly longestMs: number
  readonly error: string
  readonly acknowledged: readonly number[]
}

export interface Writer {
  /** Ends the writer and gives what it did. */
  stop(): Promise<WriterResult>
}

/** A process start in a guest takes about a second, several where guests share a busy core. */
const BEGIN_MS = 60_000

/** Writes numbered blocks to a file or device of a head until stopped. `blocks` of 4 KiB are written over and over. It is under way when this comes back. */
export async function startWriter(lab: Lab, host: string, path: string, blocks = 512): Promise<Writer> {
  const stopFile = `/run/writer-stop-${Math.random().toString(36).slice(2)}`
  const done = lab.exec(host, ['node', join(lab.wish.dist, 'tools/lab/writer.js'), 'write', path, String(blocks), stopFile], { timeoutMs: 0 })
  done.catch(() => undefined)
  const begun = lab.exec(host, ['sh', '-c', `until [ -e ${underWay(stopFile)} ]; do sleep 0.05; done; rm ${underWay(stopFile)}`], { timeoutMs: BEGIN_MS })
  begun.catch(() => undefined) // the writer's own end tells more
  const { code, stderr } = await Promise.race([begun, done])
  if (code !== 0) throw new LabError(`the writer of ${path} on ${host} ended, or was not under way within ${BEGIN_MS} ms: ${stderr.trim()}`)
  return {
    async stop() {
      await lab.must(host, ['touch', stopFile])
      const result = await done
      if (result.code !== 0) throw new LabError(`the writer on ${host} ended with ${result.code}: ${result.stderr}`)
      return JSON.parse(result.stdout) as WriterResult
    },
  }
}

/** Acknowledged blocks that a reader on `host` does not find. */
export async function verifyWritten(lab: Lab, host: string, path: string, written: WriterResult): Promise<{ readonly lost: number; readonly detail: string }> {
  const text = await lab.must(host, ['node', join(lab.wish.dist, 'tools/lab/writer.js'), 'verify', path, '0'], { stdin: JSON.stringify(written.acknowledged), timeoutMs: 120_000 })
  return JSON.parse(text) as { lost: number; detail: string }
}

// In one bash that starts nothing: it is asked again and again while disks are being cleaned, and a guest starts programs slowly.
const search = String.raw`
for d in /dev/mapper/*; do case ${'$'}{d##*/} in control|disk[0-9]|disk[0-9][0-9]) ;; *) [ -e $d -o -L $d ] && echo "dm device ${'$'}{d##*/}";; esac; done
for d in /sys/class/iscsi_session/session*; do [ -e $d ] && echo "iSCSI session $(<$d/targetname)"; done
for d in /sys/kernel/config/target/core/iblock_*/*/control; do [ -e $d ] && echo "backstore $d"; done
for d in /sys/kernel/config/target/iscsi/iqn*/tpgt_1/lun/lun_* /sys/kernel/config/target/iscsi/iqn*/tpgt_1/acls/*; do [ -e $d ] && echo "export $d"; done
for d in /dev/vsky/* /dev/vas/* /var/lib/vsky/volumes/*.json; do [ -e $d ] && echo "file $d"; done
for d in /dev/vsky_*/*; do [ -e $d ] && echo "logical volume $d"; done
true`

/** What of Vsky's making is left in the manager's books or, when those have nothing more, on any host. Empty when everything was deleted. */
export async function leftovers(lab: Lab): Promise<readonly string[]> {
  const [volumes, disks] = await Promise.all([lab.json<readonly { name: string }[]>(['volume', 'list']), lab.json<readonly { host: string; device: string; extents: number }[]>(['disk', 'list'])])
  const books = [...volumes.map((volume) => `manager: volume ${volume.name}`), ...disks.filter((disk) => disk.extents > 0).map((disk) => `manager: ${disk.extents} extents on ${disk.host}:${disk.device}`)]
  if (books.length > 0) return books
  const found = await Promise.all(lab.hosts.filter((host) => hasAgent(host) && lab.powered(host.name)).map(async (host) => {
    const text = await lab.must(host.name, ['bash', '-c', search])
    return text.split('\n').filter((line) => line !== '').map((line) => `${host.name}: ${line}`)
  }))
  return found.flat()
}

/**
 * In-sync legs of a volume that differ, compared byte for byte on their storage servers; nobody may write meanwhile. Empty when each
 * segment's legs are equal.
 */
export async function unequalLegs(lab: Lab, volume: string): Promise<readonly string[]> {
  const view = await lab.json<VolumeView>(['volume', 'show', volume])
  const legs = view.segments.flatMap((segment) => segment.legs.filter((leg) => leg.state === 'insync').map((leg) => ({ segment: segment.index, bytes: Number(segment.bytes), leg })))
  const sums = await Promise.all(legs.map(async ({ segment, bytes, leg }) => {
    const path = `/dev/vsky_${leg.disk}/${leg.extent}`
    const text = await lab.must(leg.host, ['bash', '-c', `dd if=${path} bs=1M iflag=direct,count_bytes count=${bytes} status=none | sha256sum`], { timeoutMs: 120_000 })
    return { segment, host: leg.host, sum: text.slice(0, 64) }
  }))
  return view.segments.flatMap((segment) => {
    const mine = sums.filter((each) => each.segment === segment.index)
    return new Set(mine.map((each) => each.sum)).size <= 1 ? [] : [`segment ${segment.index} of ${volume}: ${mine.map((each) => `${each.host} ${each.sum.slice(0, 8)}`).join(', ')}`]
  })
}
