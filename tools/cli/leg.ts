/** vsky segment … and vsky leg …: what lies where, across volumes. */
import type { Command } from 'commander'
import { legStates } from '../../lib/model.js'
import { formatSizeRounded } from '../../lib/units.js'
import { afterOption, given, limitOption, watchOption, wordOf } from './context.js'
import type { Context, Paging, Watch } from './context.js'
import { short, table, toneOf } from './print.js'
import { verb } from './verb.js'

interface ListOptions extends Paging { readonly watch?: Watch; readonly volume?: string; readonly host?: string; readonly disk?: string; readonly state?: string }

export function legCommands(program: Command, context: () => Context): void {
  const lists = (noun: Command, method: 'segmentList' | 'legList'): Command => verb(noun, 'list', method).option('--volume <volume>', 'only of this one').option('--host <host>', 'only on this server')
    .option('--disk <disk>', 'only on this disk, its id or HOST:DEVICE').option(...limitOption).option(...afterOption).option(...watchOption)
  lists(program.command('segment').description('parts of volumes, each a mirror of its own'), 'segmentList').action(async ({ watch, volume, host, disk, ...paging }: ListOptions) => {
    const { list, show, look, watching } = context()
    await watching(watch, async () => {
      show(await list('segmentList', given({ volume, host, disk }), paging), (segments) => (segments.length === 0 ? 'there is no such segment' : table(segments, [
        { title: 'VOLUME', of: (each) => each.volume }, { title: 'SEGMENT', of: (each) => String(each.index), right: true }, { title: 'OFFSET', of: (each) => formatSizeRounded(each.offset), right: true, minor: true },
        { title: 'SIZE', of: (each) => formatSizeRounded(each.bytes), right: true }, { title: 'GEN', of: (each) => String(each.generation), right: true, minor: true },
        { title: 'LEGS', of: (each) => each.legs.map((leg) => `${leg.host} ${leg.state}${leg.online ? '' : ' (offline)'}`).join(', '), elastic: true, tone: (each) => (each.legs.every((leg) => leg.state === 'insync' && leg.online) ? 'plain' : 'warn') },
      ], look)))
    })
  })
  lists(program.command('leg').description('copies of segments'), 'legList').option('--state <state>', `only ${legStates.join(' or ')}`).action(async ({ watch, volume, host, disk, state, ...paging }: ListOptions) => {
    const { list, show, look, watching } = context()
    const filter = given({ volume, host, disk, state: wordOf('--state', state, legStates) })
    await watching(watch, async () => {
      const legs = await list('legList', filter, paging)
      const sorted = [...legs].sort((a, b) => a.volume.localeCompare(b.volume) || a.segment - b.segment || a.slot - b.slot)
      show(sorted, () => (sorted.length === 0 ? 'there is no such leg' : table(sorted, [
        { title: 'VOLUME', of: (each) => each.volume || '-' }, { title: 'SEGMENT', of: (each) => String(each.segment), right: true }, { title: 'LEG', of: (each) => (each.extentState === 'ready' ? each.state : each.extentState), tone: (each) => toneOf(each.state) },
        { title: 'SERVER', of: (each) => `${each.host}${each.online ? '' : ' (offline)'}` }, { title: 'DISK', of: (each) => each.device }, { title: 'SIZE', of: (each) => formatSizeRounded(each.bytes), right: true, minor: true },
        { title: 'LUN', of: (each) => String(each.lun), right: true, minor: true }, { title: 'EXTENT', of: (each) => short(each.extent), minor: true },
      ], look)))
    })
  })
}
