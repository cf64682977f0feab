/** Settings: listed with their limits, set for the cluster or for one volume. */
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import type { SettingView } from '../../lib/api/views.js'
import { Fault } from '../../lib/faults.js'
import type { Cluster } from '../run/cluster.js'
import { isAdminOnly, isSettingName, settingNames, settingProblem, settings } from '../state/settings.js'
import type { SettingName, Settings } from '../state/settings.js'
import { loadSettings, putSetting } from '../store/settings.js'
import { mutate } from './requests.js'
import { knownVolume } from './volumes.js'

function show(now: Settings, name: SettingName, volume?: string): SettingView {
  return { name, value: now.of(name, volume), ...settings[name] }
}

export async function settingList(cluster: Cluster, { volume }: ApiParams<'settingList'>): Promise<ApiResult<'settingList'>> {
  const id = volume === undefined ? undefined : (await knownVolume(cluster.store.read, volume)).id
  const now = await loadSettings(cluster.store.read)
  return settingNames.filter((name) => id === undefined || settings[name].perVolume).map((name) => show(now, name, id))
}

export function settingSet(cluster: Cluster, params: ApiParams<'settingSet'>, signal: AbortSignal): Promise<ApiResult<'settingSet'>> {
  const { name, value } = params
  return mutate({
    cluster, method: 'vsky.setting.set', params, signal,
    async intend(tx) {
      if (!isSettingName(name)) throw new Fault('bad parameter', `there is no setting ${JSON.stringify(name)}; there are ${settingNames.join(', ')}`)
      if (isAdminOnly(name) && cluster.call?.role !== 'admin') throw new Fault('denied', `${name} is set by an admin, not by ${JSON.stringify(cluster.call?.role ?? '')}`)
      const volume = params.volume === undefined ? undefined : await knownVolume(tx, params.volume)
      if (volume && !settings[name].perVolume) throw new Fault('bad parameter', `${name} holds for the whole cluster: it can't be set for one volume`)
      const wrong = value === undefined ? undefined : settingProblem(name, value)
      if (wrong !== undefined) throw new Fault('bad parameter', wrong)
      await putSetting(tx, name, value, volume?.id)
      await tx.event({ kind: 'setting', about: volume ? 'volume' : 'manager', name: volume?.name ?? cluster.name, text: `${name} is ${value ?? 'as it was at first'}` })
      return { about: volume ? `${name}@${volume.id}` : name, done: true }
    },
    async answer(about) {
      const [key = '', volume] = about.split('@')
      return show(await loadSettings(cluster.store.read), key as SettingName, volume)
    },
  })
}
