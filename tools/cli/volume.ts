/** vsky volume … */
import type { Command } from 'commander'
import type { VolumeView } from '../../lib/api/views.js'
import { limits, namePattern, nameRule } from '../../lib/model.js'
import { formatSize, formatSizeRounded, parseSize } from '../../lib/units.js'
import type { Context } from './context.js'
import { age, short, table } from './print.js'
import { UsageError } from './settings.js'

export function volumeCommands(program: Command, context: () => Context): void {
  const volume = program.command('volume').description('volumes')
  volume.command('create').description('makes a volume: places its legs, makes and zeroes their extents').argument('<name>', nameRule)
    .requiredOption('--size <size>', 'such as 1GiB, 100MiB, 1048576 (bytes), 8s (sectors): at least 1 MiB, a multiple of 512 bytes').option('--redundancy <n>', `legs, 1 to ${limits.legsMax}`, String(limits.defaultRedundancy))
    .action(async (name: string, { size, redundancy }: { size: string; redundancy: string }) => {
      if (!namePattern.test(name)) throw new UsageError(`${JSON.stringify(name)} can't be the name of a volume: it takes ${nameRule}`)
      const bytes = sizeOf(size)
      if (!/^[1-9]$/.test(redundancy)) throw new UsageError(`--redundancy takes a number from 1 to ${limits.legsMax}, not ${JSON.stringify(redundancy)}`)
      const { ask, show } = context()
      show(await ask('volumeCreate', { name, bytes, redundancy: Number(redundancy) }), (made) => `${made.name} is ready: ${formatSize(made.bytes)}, ${made.redundancy} legs, ${made.segments.length} segments`)
    })
  volume.command('list').description('all volumes').action(async () => {
    const { ask, show, width } = context()
    show(await ask('volumeList', {}), (volumes) => (volumes.length === 0 ? 'there is no volume yet' : table(volumes, [
      { title: 'NAME', of: (each) => each.name }, { title: 'SIZE', of: (each) => formatSizeRounded(each.bytes), right: true }, { title: 'LEGS', of: (each) => String(each.redundancy), right: true },
      { title: 'STATE', of: (each) => each.state }, { title: 'HEAD', of: (each) => each.head || '-' }, { title: 'HEALTH', of: (each) => each.health }, { title: 'PROBLEM', of: (each) => each.problem || '-', elastic: true },
    ], width)))
  })
  volume.command('show').description('one volume, with its segments and legs').argument('<name>').action(async (name: string) => {
    const { ask, show, width } = context()
    show(await ask('volumeShow', { volume: name }), (found) => describeVolume(found, width))
  })
  volume.command('attach').description('makes it appear as /dev/vsky/NAME on a head server').argument('<name>').requiredOption('--host <host>', 'the head server')
    .option('--force-from-dead-host', 'the head that has it is lost: it is shut out on every server first', false).action(async (name: string, { host, forceFromDeadHost }: { host: string; forceFromDeadHost: boolean }) => {
    const { ask, show } = context()
    show(await ask('volumeAttach', { volume: name, host, ...(forceFromDeadHost ? { fromDeadHost: true } : {}) }), (attached) => `${attached.name} is ${attached.device} on ${attached.head}`)
  })
  volume.command('detach').description('removes it from its head server; refused while it is in use').argument('<name>').action(async (name: string) => {
    const { ask, show } = context()
    show(await ask('volumeDetach', { volume: name }), (detached) => `${detached.name} is detached`)
  })
  volume.command('delete').description('removes a detached volume and overwrites its extents').argument('<name>').action(async (name: string) => {
    const { ask, show } = context()
    show(await ask('volumeDelete', { volume: name }), () => `${name} is gone, its space is free`)
  })
}

/** Told here, before any call: most mistakes in a size are seen at once. */
function sizeOf(text: string): bigint {
  const bytes = parseSize(text)
  if (bytes === undefined) throw new UsageError(`--size ${JSON.stringify(text)} is not a size: write 1GiB, 100MiB, 1048576 (bytes) or 8s (sectors of 512 bytes)`)
  if (bytes < limits.volumeMin) throw new UsageError(`--size ${text} is less than the smallest volume, 1 MiB`)
  if (bytes % limits.volumeStep !== 0n) throw new UsageError(`--size ${text} is ${bytes} bytes, not a multiple of 512: the nearest are ${bytes - bytes % 512n} and ${bytes - bytes % 512n + 512n}`)
  if (bytes > limits.volumeMax) throw new UsageError(`--size ${text} is more than the largest volume, 64 TiB`)
  return bytes
}

function describeVolume(volume: VolumeView, width: number): string {
  const where = volume.head === '' ? '' : ` ${volume.state === 'attached' ? 'to' : '…'} ${volume.head}${volume.device === '' ? '' : ` as ${volume.device}`}`
  const head = [
    `${volume.name}: ${volume.state}${where}, ${volume.health}`, `  id       ${volume.id}`, `  size     ${formatSize(volume.bytes)} (${volume.bytes} bytes)`,
    `  legs     ${volume.redundancy}`, `  made     ${age(Math.max(0, Date.now() - volume.createdAt))} ago`,
  ]
  if (volume.problem !== '') head.push(`  problem  ${volume.problem}`)
  const legs = volume.segments.flatMap((segment) => segment.legs.map((leg, index) => ({ segment, leg, first: index === 0 })))
  return `${head.join('\n')}\n\n${table(legs, [
    { title: 'SEGMENT', of: ({ segment, first }) => (first ? String(segment.index) : ''), right: true }, { title: 'OFFSET', of: ({ segment, first }) => (first ? formatSizeRounded(segment.offset) : ''), right: true },
    { title: 'SIZE', of: ({ segment, first }) => (first ? formatSizeRounded(segment.bytes) : ''), right: true }, { title: 'GEN', of: ({ segment, first }) => (first ? String(segment.generation) : ''), right: true },
    { title: 'LEG', of: ({ leg }) => leg.state }, { title: 'SERVER', of: ({ leg }) => `${leg.host}${leg.online ? '' : ' (offline)'}` }, { title: 'DISK', of: ({ leg }) => leg.device }, { title: 'EXTENT', of: ({ leg }) => short(leg.extent) },
  ], width)}`
}
