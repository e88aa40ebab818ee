HOST="vcenter.example.com";
USERNAME="vcb@vsphere.local";
TRANSPORT_MODE="nbdssl";
