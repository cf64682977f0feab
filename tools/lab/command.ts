/** Programs that the lab runs on the outer machine. */
import { createRun, failureText } from '../../lib/host/run.js'

/** A mistake of the caller, or something that is missing: told in one line. */
export class LabError extends Error {
  override readonly name = 'LabError'
}

export const run = createRun({ maxParallel: { ip: 16, mkfs: 4 } })

/** A program that must succeed; gives its standard output. Throws LabError with what it said. */
export async function command(file: string, args: readonly string[], { input, timeoutMs = 20_000 }: { input?: string; timeoutMs?: number } = {}): Promise<string> {
  const request = { file, args, timeoutMs, ...(input === undefined ? {} : { input }) }
  const result = await run(request)
  if (result.exit.kind !== 'code' || result.exit.code !== 0) throw new LabError(failureText(request, result))
  return result.stdout
}
