/** Stands for lib/host/run.ts where a module makes a runner of its own: the programs of the host whose process asks. */
import type { Run } from '../../../lib/ports.js'
import { here } from '../inside.js'

export function createRun(): Run {
  return (request) => here().run(request)
}
