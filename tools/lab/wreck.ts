/** Removing a lab's folder. */
import { rm } from 'node:fs/promises'

/** `folder` is a lab's own (it begins so), whatever state it is in. */
export async function removeFolder(folder: string): Promise<void> {
  if (!/^\/(?:dev\/shm|run)\/vsky-lab-[a-z0-9][a-z0-9-]{0,19}$/.test(folder)) throw new Error(`not a lab's folder: ${folder}`)
  await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
}
