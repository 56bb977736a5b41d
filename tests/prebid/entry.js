// Unmodified Prebid.js with the modules that a publisher would bundle, and the reference CMPs of TCF and GPP.
import pbjs from 'prebid.js';
import 'prebid.js/modules/prebidServerBidAdapter';
import 'prebid.js/modules/rixengineBidAdapter';
import 'prebid.js/modules/consentManagementTcf';
import 'prebid.js/modules/consentManagementGpp';
import 'prebid.js/modules/tcfControl';
import 'prebid.js/modules/dsaControl';
import 'prebid.js/modules/nativeRendering';
import 'prebid.js/modules/priceFloors';
import 'prebid.js/modules/rtdModule';
import 'prebid.js/modules/neuwoRtdProvider';
import { CmpApi } from '@iabtcf/cmpapi';
import { CmpApi as GppCmpApi } from '@iabgpp/cmpapi';

window.cmps = { CmpApi, GppCmpApi };
pbjs.processQueue();
