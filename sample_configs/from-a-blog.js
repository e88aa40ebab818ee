* A config.js that went through a blog: the comment signs are gone and the
* quotes have become typographic. It is read, with warnings.

* Where the jobs live
BACKUPROOT=“/srv/vcb”;

* The vCenter server
HOST=”vcenter.example.com”;
// PORT=”443″;

USERNAME=“vcb@vsphere.local”;
TRANSPORT_MODE=“nbdssl”;
LOGLEVEL="4";
