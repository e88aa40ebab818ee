HOST="vc.example.com;
USERNAME="backup";
BACKUPROOT="/srv/vcb
LOGLEVEL=3;
PASSWORD_FILE='/etc/vcb/password";
