/** Which calls change something at the one who is called: only those are steps of a process (inside.ts). */
import { apiMethods } from '../../lib/api/methods.js'
import { agentMethods } from '../../lib/wire/agent.js'

const changing = new Set<string>([
  ...Object.values(apiMethods).filter((method) => method.mutates).map((method) => method.name), apiMethods.hostRegister.name, apiMethods.hostReport.name,
  ...Object.values(agentMethods).filter((method) => method !== agentMethods.observe && method !== agentMethods.recall && method !== agentMethods.start).map((method) => method.name),
])

export function changesSomething(method: string): boolean {
  return changing.has(method)
}
