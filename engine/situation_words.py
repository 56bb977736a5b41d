"""What copy names place, weather, hour and device by: words, beginnings of words, and phrases, in many languages.

All is looked for in copy without accents, in lower case (engine.governor); it is written here as it is spelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Named = Literal["place", "weather", "hour", "device"]

WORDS: Mapping[Named, str] = {
    "place": (
        "austria belgium brazil canada china denmark england finland france germany greece india ireland italy "
        "japan luxembourg mexico netherlands norway poland portugal scotland spain sweden switzerland turkey "
        "wales deutschland österreich schweiz frankreich italien spanien niederlande belgien dänemark polen "
        "bayern sachsen hessen thüringen brandenburg niedersachsen saarland berlin hamburg bremen münchen munich "
        "vienna wien paris london madrid rome london's dublin amsterdam brussels bruxelles lisbon lisboa warsaw "
        "prague zürich zurich geneva barcelona milan manchester birmingham cologne köln frankfurt stuttgart "
        "dresden leipzig españa francia allemagne alemania argentina australia britain bulgaria chile colombia "
        "croatia cyprus czechia egypt estonia hungary iceland indonesia israel kenya latvia lithuania malaysia "
        "malta morocco nigeria pakistan peru philippines romania russia serbia singapore slovakia slovenia "
        "taiwan thailand tunisia ukraine uruguay usa venezuela vietnam bavaria saxony california catalonia "
        "florida texas tuscany provence antwerp athens basel beijing belfast bern boston brisbane bristol "
        "bucharest budapest cairo cardiff chicago copenhagen dallas delhi denver detroit dubai edinburgh ghent "
        "glasgow graz hannover helsinki houston istanbul jakarta johannesburg krakow lagos leeds linz liverpool "
        "lyon marseille melbourne miami montreal moscow mumbai naples nuremberg nürnberg oslo perth philadelphia "
        "porto riga rotterdam salzburg seattle seoul seville shanghai sheffield stockholm sydney tallinn tokyo "
        "toronto turin valencia vancouver venice vilnius zagreb londoners berliners parisians viennese nyc uk "
        "dusseldorf dortmund munster mannheim karlsruhe augsburg bonn munchner munchnern kolner zurcher roma "
        "milano torino napoli firenze venezia genova bologna palermo utrecht antwerpen malmo goteborg kobenhavn "
        "kopenhagen tampere praha brno lodz poznan gdansk wroclaw sevilla malaga zaragoza bilbao granada nantes "
        "lille bordeaux toulouse strasbourg rennes leicester nottingham newcastle swansea ankara izmir dubliners "
        "londoner dubliner viennois bruxellois madrilenos"
    ),
    "weather": (
        "rain rains rainy raining rainfall wet drizzle drizzly snow snowy snowing snowfall fog foggy mist misty "
        "sun sunny sunshine cloudy clouds overcast storm stormy thunder thunderstorm windy wind frost frosty "
        "freezing icy chilly heatwave regen regnet regnerisch nass schnee verschneit nebel neblig sonne sonnig "
        "bewölkt wolkig sturm stürmisch gewitter windig frost frostig eisig hitze hitzewelle pluie pluvieux "
        "neige neigeux brouillard soleil ensoleillé orage lluvia lluvioso nieve niebla sol soleado tormenta "
        "pleut neiges pluies nuages eclaircies verglas llueve llover lluvias nieva nieblas tormentas "
        "nubes piove pioggia piogge nevica neve nuvoloso soleggiato nebbia temporale temporali zonnig regent "
        "sneeuw sneeuwt bewolkt mistig onweer chuva chuvas chuvoso chuvosa chove neva ensolarado nublado "
        "trovoada nevoeiro mroz pochmurno regnar regnig regner solig snoar snor dimma dimmigt prsi snih mlha "
        "bourka снег снега снегу снегом "
        "gunesli sisli regentag regentage regentagen regenabend regenabende regenwetter regenschauer "
        "regenguss schneetag schneetage schneefall schneit verregnet verregnete verregneter nieselregen "
        "sonnenschein sonnentag sonnentage glatteis"
    ),
    "hour": (
        "morning mornings midday noon afternoon afternoons evening evenings night nights tonight midnight "
        "breakfast-time lunchtime bedtime dawn dusk o'clock morgens mittag mittags nachmittag nachmittags abend "
        "abends nacht nachts mitternacht feierabend matin midi après-midi soir nuit minuit mañana mediodía tarde "
        "noche medianoche tonite lunchbreak daybreak twilight heute-abend vormittag vormittags mittagspause "
        "abende abenden nachte nachten sommerabend winterabend sommernacht winternacht regenabend morgenstunde "
        "fruhmorgens soiree soirees matinee matinees nuits soirs madrugada noches tardes mananas mattina mattino "
        "mattinata pomeriggio sera serata stasera notte nottata stanotte stamattina mezzogiorno mezzanotte "
        "ochtend ochtends middag avond avonden vanavond vannacht vanochtend vanmiddag middernacht manha manhas "
        "noite noites meio-dia meia-noite rano ranek porankiem noca noc nocy polnoc kvall kvallen ikvall "
        "morgonen natten inatt eftermiddag aften aftenen formiddag kveld kvelden noci odpoledne dopoledne pulnoc "
        "sabah gece"
    ),
    "device": (
        "phone phones smartphone mobile iphone android tablet tablets ipad desktop laptop handy telefon handys "
        "tablet-pc fernseher téléphone portable ordinateur teléfono móvil ordenador pc chromebook "
        "chromebooks mobiles telephones ordinateurs portables smartphones moviles telefonos ordenadores celular "
        "celulares telemovel telemoveis cellulare cellulari telefonino telefono telefoon telefoons mobieltje "
        "smartfon smartfonie smartfona telefonie telefonem telefonu telefonen telefonunuz telefonunda bilgisayar "
        "handybildschirm smartphone-bildschirm smarttelefon mobiltelefon mobiltelefone mobilen"
    ),
}
# Beginnings of words, of languages that bend them.
STEMS: Mapping[Named, str] = {
    "place": ("москв петербург киев київ минск мінск варшав warszaw krakow budapest istanbul"),
    "weather": (
        "дожд снегопад снежн солнечн туманн пасмурн гроз дощ сніг соняч мороз deszcz sniez sniegiem sloneczn "
        "słoneczn mglist burzow destiv snezn slunecn yagmur soleggiat piovos regenachtig sneeuwend"
    ),
    "hour": (
        "вечер вечір утренн утром утра ночью ночной ночи полдень полноч вранці ранков ввечер нічн wieczor porank "
        "popoludni popołudni północ vecer aksam akşam"
    ),
    "device": ("телефон смартфон планшет ноутбук компьютер комп’ют telefonin bilgisayar komputer"),
}
# Within words, of languages that put no space between them or join an article to them: regular expressions.
WITHIN: Mapping[Named, str] = {
    "place": ("東京|东京|大阪|京都|北京|上海|香港|台北|广州|深圳|서울|부산|القاهرة|دبي|الرياض|दिल्ली|मुंबई"),
    "weather": (
        "雨|雪|晴れ|晴天|曇り|阴天|霧|雾|嵐|비가 ?오|비 ?오는|눈이 ?내"
        "|눈 ?오는|안개|흐린|맑은 날|مطر|ثلج|مشمس|غائم|ضباب"
        "|बारिश|बर्फ|धूप"
    ),
    "hour": (
        "今朝|毎朝|朝の|早朝|夜|晩|晚上|今晚|傍晚|早上|早晨|下午|中午|午前"
        "|午後|夕方|저녁|아침|오후|오전|밤에|점심|새벽|مساء|صباح"
        "|الليل|ليلة|आज शाम|सुबह|आज रात|दोपहर"
    ),
    "device": (
        "手机|手機|电话|電話|电脑|電腦|平板|スマホ|スマートフォン|携帯|パソコン"
        "|タブレット|휴대폰|스마트폰|핸드폰|컴퓨터|태블릿|هاتف|جوال"
        "|मोबाइल"
    ),
}
# What takes more than a word to name, as regular expressions: places of several, clock times, weather by how it feels.
PHRASES: Mapping[Named, str] = {
    "place": (
        r"near you|nearby|around the corner|in your (?:area|town|city|region|neighbou?rhood)|your local"
        r"|in deiner nähe|in ihrer nähe|près de chez vous|cerca de ti|new york(?:ers?)?|new orleans|new zealand"
        r"|los angeles|las vegas|san (?:francisco|diego)|washington,? d\.?c\b|united (?:states|kingdom|arab emirates)"
        r"|great britain|northern ireland|czech republic|(?:north|south) korea|south africa|cape town|hong kong"
        r"|tel aviv|buenos aires|rio de janeiro|s[ãa]o paulo|mexico city|saudi arabia|puerto rico|costa rica|sri lanka"
        r"|kuala lumpur"
        r"|your (?:street|neighbou?rhood|corner)|downtown|here in town|u\.s\.a\.?|u\.k\.?(?!\w)|st\.? gallen"
        r"|den haag|sankt petersburg"
    ),
    "weather": (
        r"(?:hot|cold|warm|cool|mild|wet|dry|dull|gr[ae]y|muggy) (?:and [a-z]+ )?(?:spring |summer |autumn |winter )?"
        r"(?:days?|mornings?|middays?|noons?|afternoons?|evenings?|nights?|weather|outside|spell)"
        r"|(?:this|such|bad|good|nasty|foul|fine|lovely) weather|cold snap|heat ?waves?|pouring down|minus \d+ degrees"
        r"|weather (?:this|so)|-?\d+ ?°(?: ?[cf])?|sleet|(?:hail|sleet|snow)(?:s|ed|ing|storms?)"
        r"|(?:rain|thunder)storms?|downpours?|blizzards?|drizzl(?:es|ing)"
        r"|(?:regnerisch|sonnig|neblig|windig|frostig|eisig|bewölkt|wolkig|verschneit|stürmisch|gewittrig)(?:e[rsnm]?)"
        r"|(?:heiss|kalt|warm|kühl)e[rsnm]? (?:tag|morgen|mittag|abend|nacht)e?|bei (?:diesem|dem) wetter"
        r"|pluvieuses?|neigeuses?|ensoleillées?|orageu(?:x|ses?)|lluviosas?|soleadas?"
        r"|il fait (?:si |tres |trop )?(?:froid|chaud|beau|gris|mauvais|doux)"
        r"|hace (?:mucho |tanto )?(?:frio|calor|sol|viento)|fa (?:freddo|caldo)"
        r"|(?:umbrella|beach|sweater|jumper) weather|below zero|sub-?zero"
        r"|\d+ degrees (?:outside|out|today|tonight|and)|\d+ (?:grad|grados|degres)"
    ),
    "hour": (
        r"\d{1,2}(?::[0-5]\d)? ?(?:[ap]\.?m\b|uhr)|(?:[01]?\d|2[0-3]):[0-5]\d|\d{1,2} o['’]clock"
        r"|sunrise|sunset|nightfall|(?:after|before) dark"
        r"|\d{1,2} ?h ?[0-5]\d|a \d{1,2} ?h|half past \w+|quarter (?:past|to) \w+|(?:wee|small) hours|happy hour"
        r"|lunch (?:break|hour)|(?:over|at) (?:breakfast|lunch)|(?:after|before) work|heute fruh|in der fruhe"
        r"|v noci"
    ),
    "device": (
        r"smart ?tvs?|tvs? screen|macbooks?|computers?|smartphones|laptops|desktops|iphones|ipads|handhelds?"
        r"|am (?:rechner|computer|laptop|bildschirm)|fire tv|apple tv|samsung galaxy"
    ),
}
