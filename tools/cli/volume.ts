/** vsky volume … */
import type { Command } from 'commander'
import type { VolumeView } from '../../lib/api/views.js'
import { limits, namePattern, nameRule, volumePhases } from '../../lib/model.js'
import { formatSize, formatSizeRounded, parseSize } from '../../lib/units.js'
import { afterOption, given, limitOption, manner, noWaitOption, planOption, watchOption, wordOf } from './context.js'
import type { Context, Paging, Watch } from './context.js'
import { age, short, table, toneOf } from './print.js'
import type { Look } from './print.js'
import { UsageError } from './settings.js'
import { verb } from './verb.js'

interface ListOptions extends Paging { readonly watch?: Watch; readonly prefix?: string; readonly state?: string; readonly host?: string }
interface Disruptive { readonly plan: boolean; readonly wait: boolean }

export function volumeCommands(program: Command, context: () => Context): void {
  const volume = program.command('volume').description('volumes')
  verb(volume, 'create', 'volumeCreate').argument('<name>', nameRule)
    .requiredOption('--size <size>', 'such as 1GiB, 100MiB, 1048576 (bytes), 8s (sectors): at least 1 MiB, a multiple of 512 bytes').option('--redundancy <n>', `legs, 1 to ${limits.legsMax}`, String(limits.defaultRedundancy)).option(...noWaitOption)
    .action(async (name: string, { size, redundancy, wait }: { size: string; redundancy: string; wait: boolean }) => {
      if (!namePattern.test(name)) throw new UsageError(`${JSON.stringify(name)} can't be the name of a volume: it takes ${nameRule}`)
      const bytes = sizeOf(size)
      if (!/^[1-9]$/.test(redundancy)) throw new UsageError(`--redundancy takes a number from 1 to ${limits.legsMax}, not ${JSON.stringify(redundancy)}`)
      const { ask, show } = context()
      show(await ask('volumeCreate', { name, bytes, redundancy: Number(redundancy), ...manner({ wait }) }), (made) => `${made.name} is ${wait ? 'ready' : made.state}: ${formatSize(made.bytes)}, ${made.redundancy} legs, ${made.segments.length} segments`)
    })
  verb(volume, 'list', 'volumeList').option('--prefix <text>', 'only names that begin so').option('--state <state>', `only ${volumePhases.join(' or ')}`).option('--host <host>', 'only those attached to it')
    .option(...limitOption).option(...afterOption).option(...watchOption)
    .action(async ({ watch, prefix, state, host, ...paging }: ListOptions) => {
      const { list, show, look, watching } = context()
      const filter = given({ prefix, state: wordOf('--state', state, volumePhases), host })
      await watching(watch, async () => {
        show(await list('volumeList', filter, paging), (volumes) => (volumes.length === 0 ? 'there is no volume yet' : table(volumes, [
          { title: 'NAME', of: (each) => each.name }, { title: 'SIZE', of: (each) => formatSizeRounded(each.bytes), right: true }, { title: 'LEGS', of: (each) => String(each.redundancy), right: true, minor: true },
          { title: 'STATE', of: (each) => each.state, tone: (each) => toneOf(each.state) }, { title: 'HEAD', of: (each) => each.head || '-' }, { title: 'HEALTH', of: (each) => each.health, tone: (each) => toneOf(each.health) },
          { title: 'PROBLEM', of: (each) => each.problem || '-', elastic: true },
        ], look)))
      })
    })
  verb(volume, 'show', 'volumeShow').argument('<volume>').option(...watchOption).action(async (name: string, { watch }: { watch?: Watch }) => {
    const { ask, show, look, watching } = context()
    await watching(watch, async () => { show(await ask('volumeShow', { volume: name }), (found) => describeVolume(found, look)) })
  })
  verb(volume, 'attach', 'volumeAttach', 'volumeShow').argument('<volume>').requiredOption('--host <host>', 'the head server')
    .option('--force-from-dead-host', 'the head that has it is lost: it is shut out on every server first', false).option(...planOption, false).option(...noWaitOption)
    .action(async (name: string, { host, forceFromDeadHost, plan, wait }: { host: string; forceFromDeadHost: boolean } & Disruptive) => {
      const { ask, show, confirm } = context()
      if (plan) return show(await ask('volumeShow', { volume: name }), (found) => describeAttach(found, host, forceFromDeadHost))
      if (forceFromDeadHost) await confirm(`The head that has ${name} will be shut out of it on every storage server.`)
      return show(await ask('volumeAttach', { volume: name, host, ...(forceFromDeadHost ? { fromDeadHost: true } : {}), ...manner({ wait }) }),
        (attached) => (wait ? `${attached.name} is ${attached.device} on ${attached.head}` : `${attached.name} is ${attached.state}`))
    })
  verb(volume, 'detach', 'volumeDetach', 'volumeShow').argument('<volume>').option(...planOption, false).option(...noWaitOption).action(async (name: string, { plan, wait }: Disruptive) => {
    const { ask, show } = context()
    if (plan) {
      return show(await ask('volumeShow', { volume: name }), (found) => (found.state === 'detached' ? `${found.name} is detached already`
        : `${found.device || found.name} would be removed from ${found.head}, unless something there has it open; nothing has been changed`))
    }
    return show(await ask('volumeDetach', { volume: name, ...manner({ wait }) }), (detached) => `${detached.name} is ${wait ? 'detached' : detached.state}`)
  })
  verb(volume, 'delete', 'volumeDelete', 'volumeShow').argument('<volume>').option(...planOption, false).option(...noWaitOption).action(async (name: string, { plan, wait }: Disruptive) => {
    const { ask, show, confirm } = context()
    if (plan) return show(await ask('volumeShow', { volume: name }), describeDelete)
    await confirm(`All data of ${name} will be overwritten.`)
    return show(await ask('volumeDelete', { volume: name, ...manner({ wait }) }), () => (wait ? `${name} is gone, its space is free` : `${name} is gone, its space is being freed`))
  })
}

function describeDelete(volume: VolumeView): string {
  const legs = volume.segments.flatMap((segment) => segment.legs)
  const servers = [...new Set(legs.map((leg) => leg.host))].sort()
  return [
    `${volume.name}, ${formatSize(volume.bytes)}, would be gone, and ${legs.length} extents on ${servers.join(', ')} overwritten and removed; nothing has been changed`,
    ...(volume.state === 'detached' ? [] : [`it would be refused: it is ${volume.state}${volume.head === '' ? '' : ` (${volume.head})`}`]),
  ].join('\n')
}

function describeAttach(volume: VolumeView, host: string, force: boolean): string {
  const servers = [...new Set(volume.segments.flatMap((segment) => segment.legs.map((leg) => `${leg.host}${leg.online ? '' : ' (offline)'}`)))].sort()
  const taken = volume.head !== '' && volume.head !== host
  return [
    ...(taken && force ? [`${volume.head} would be shut out of ${volume.name} on ${servers.join(', ')}; legs whose server does not confirm it become stale`] : []),
    `${volume.name}, ${volume.health}, would be attached to ${host}; nothing has been changed`,
    ...(volume.health === 'unavailable' ? ['it would be refused: a segment has no good leg that can be reached'] : volume.head === host ? ['it would be refused: it is there already'] : taken && !force ? [`it would be refused: it is ${volume.state} (${volume.head})`] : []),
  ].join('\n')
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

function describeVolume(volume: VolumeView, look: Look): string {
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
    { title: 'LEG', of: ({ leg }) => leg.state, tone: ({ leg }) => toneOf(leg.state) }, { title: 'SERVER', of: ({ leg }) => `${leg.host}${leg.online ? '' : ' (offline)'}`, tone: ({ leg }) => (leg.online ? 'plain' : 'bad') }, { title: 'DISK', of: ({ leg }) => leg.device }, { title: 'EXTENT', of: ({ leg }) => short(leg.extent), minor: true },
  ], look)}`
}
