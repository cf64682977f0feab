/** Settings as rows: `NAME` for the cluster, `NAME@VOLUME` for one volume. */
import { settingsFrom } from '../state/settings.js'
import type { SettingName, Settings } from '../state/settings.js'
import { textOf } from './db.js'
import type { Reader, Tx } from './db.js'

export async function loadSettings(db: Reader): Promise<Settings> {
  return settingsFrom(new Map((await db.all('select name, value from settings')).map((row) => [textOf(row, 'name'), Number(textOf(row, 'value'))])))
}

/** Undefined takes a volume's own value away, or brings back the cluster's initial one. */
export async function putSetting(tx: Tx, name: SettingName, value: number | undefined, volume?: string): Promise<void> {
  const key = volume === undefined ? name : `${name}@${volume}`
  if (value === undefined) await tx.run('delete from settings where name = ?', [key])
  else await tx.run('insert into settings (name, value) values (?, ?) on conflict (name) do update set value = excluded.value', [key, String(value)])
}

export async function forgetSettingsOf(tx: Tx, volume: string): Promise<void> {
  await tx.run(`delete from settings where name like '%@' || ?`, [volume])
}
