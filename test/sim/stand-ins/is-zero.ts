/** Stands for agent/storage/is-zero.ts: the same answer without reading gigabytes. */
import { here } from '../inside.js'

export async function isZero(path: string): Promise<boolean> {
  return here().blank(path)
}
