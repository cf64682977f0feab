/** What an evacuation would do, for people. Pure. */
import type { MovePlanView } from '../../lib/api/views.js'
import { formatSizeRounded } from '../../lib/units.js'
import { age, table } from './print.js'
import type { Look } from './print.js'

export function describeMove(plan: MovePlanView, look: Look): string {
  if (plan.legs === 0) return 'nothing is on it: nothing has to move'
  const lines = [
    `${plan.legs} legs of ${plan.volumes.length} volumes, ${formatSizeRounded(plan.bytes)}, some ${age(plan.seconds * 1000)}; nothing has been changed`,
    `  volumes  ${plan.volumes.join(', ')}`, `  at risk  ${plan.atRisk.length === 0 ? 'none' : `${plan.atRisk.join(', ')}: the only good copy of something is there`}`,
  ]
  if (plan.targets.length > 0) {
    lines.push('', table(plan.targets, [
      { title: 'TO', of: (each) => each.host }, { title: 'LEGS', of: (each) => String(each.legs), right: true }, { title: 'SIZE', of: (each) => formatSizeRounded(each.bytes), right: true },
    ], look))
  }
  if (plan.problems.length > 0) lines.push('', `it would be refused: ${plan.problems.length} have no place to go`, ...plan.problems.slice(0, 10).map((each) => `  ${each}`))
  return lines.join('\n')
}
