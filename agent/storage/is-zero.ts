/** Whether a device holds nothing but zeros. */
import { open } from 'node:fs/promises'

const CHUNK = 4 * 1024 * 1024
const zeros = Buffer.alloc(CHUNK)

/** Reads all of it, or up to the first byte that is not zero. Rejects when it can't be read. */
export async function isZero(path: string): Promise<boolean> {
  const file = await open(path, 'r')
  try {
    const buffer = Buffer.allocUnsafeSlow(CHUNK)
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, CHUNK, null)
      if (bytesRead === 0) return true
      if (Buffer.compare(buffer.subarray(0, bytesRead), zeros.subarray(0, bytesRead)) !== 0) return false
    }
  } finally {
    await file.close()
  }
}
