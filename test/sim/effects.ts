/** Which calls change something at the one who is called: only those are steps of a process (inside.ts). */
import { apiMethods } from '../../lib/api/methods.js'
import { agentMethods } from '../../lib/wire/agent.js'

const questions = new Set<string>([agentMethods.observe, agentMethods.recall, agentMethods.start].map((method) => method.name))
const changing = new Set<string>([
  ...Object.values(apiMethods).filter((method) => method.mutates).map((method) => method.name), apiMethods.hostRegister.name, apiMethods.hostReport.name,
  ...Object.values(agentMethods).map((method) => method.name).filter((name) => !questions.has(name)),
])

export function changesSomething(method: string): boolean {
  return changing.has(method)
}
